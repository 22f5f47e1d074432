/** Endpoints of many hosts that do not exist, as their agents would write them. */

const HOSTS = 100

/** By key, in the network "web": 10.9.0.0 and the addresses that follow. */
export function manyEndpoints(count: number): ReadonlyMap<string, object> {
  const endpoints = new Map<string, object>()
  for (let number = 0; number < count; number++) {
    const [high, low] = [number >> 8, number & 255]
    const host = number % HOSTS
    const hexadecimal = (value: number) => value.toString(16).padStart(2, '0')
    endpoints.set(`endpoints/web/10.9.${high}.${low}`, {
      node: `far-${host}`,
      host: `198.51.100.${host + 1}`,
      mac: `02:00:00:09:${hexadecimal(high)}:${hexadecimal(low)}`,
      containerId: `container-${number}`,
      ifname: 'eth0',
    })
  }
  return endpoints
}
