/** Endpoints of many hosts that do not exist, as their agents would write them. */

/** By key, in the network "web": 10.9.0.0 and the addresses that follow; at most 1,000 hosts. */
export function manyEndpoints(count: number, hosts = 100): ReadonlyMap<string, object> {
  const endpoints = new Map<string, object>()
  for (let number = 0; number < count; number++) {
    const bytes = [9 + (number >> 16), (number >> 8) & 255, number & 255]
    const host = number % hosts
    endpoints.set(`endpoints/web/10.${bytes.join('.')}`, {
      node: `far-${host}`,
      // The range for benchmarks, RFC 2544.
      host: `198.18.${host >> 8}.${host & 255}`,
      mac: `02:00:00:${bytes.map(byte => byte.toString(16).padStart(2, '0')).join(':')}`,
      containerId: `container-${number}`,
      ifname: 'eth0',
    })
  }
  return endpoints
}
