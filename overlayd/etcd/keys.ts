/** Where things are in etcd, below the configured prefix. No part of a key can hold a "/": names and ids are checked. */

/** Every value says who wrote it, so that a change whose answer was lost is recognised. */
export const keys = {
  nodes: 'nodes/',
  node: (node: string) => `nodes/${node}`,
  alive: (node: string) => `alive/${node}`,
  networks: 'networks/',
  network: (network: string) => `networks/${network}`,
  vnis: 'vnis/',
  vni: (vni: number) => `vnis/${vni}`,
  members: (network: string) => `members/${network}/`,
  member: (network: string, node: string) => `members/${network}/${node}`,
  endpoints: (network: string) => `endpoints/${network}/`,
  endpoint: (network: string, address: string) => `endpoints/${network}/${address}`,
  attachments: (node: string) => `attachments/${node}/`,
  allAttachments: 'attachments/',
  attachment: (node: string, network: string, containerId: string, ifname: string) =>
    `attachments/${node}/${network}/${containerId}/${ifname}`,
} as const

/** A prefix as etcd's ranges want it: the first key and the first beyond. */
export function rangeOf(prefix: string): { key: Buffer; rangeEnd: Buffer } {
  const key = Buffer.from(prefix)
  const rangeEnd = Buffer.from(key)
  const last = rangeEnd.length - 1
  // The last byte of text is never 0xff.
  rangeEnd[last] = (rangeEnd[last] ?? 0) + 1
  return { key, rangeEnd }
}
