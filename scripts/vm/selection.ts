const paths = (...names: readonly string[]): string[] => names.map(name => `test/netns/${name}.test.ts`)

/**
 * What of the netns suite `npm test` runs on the second kernel: what builds most in the kernel and sends packets through
 * it. Emulated, a program starts about twenty times slower, and all of the suite would take half an hour on two
 * processors; `npm run test:vm` runs all but `clusters`.
 */
export const selected: readonly string[] = paths(
  'bridge-addresses',
  'bridge-links',
  'bridge-macspoof',
  'bridge-traffic',
  'bridge-vlan-gateway',
  'conntrack',
  'firewall-iptables',
  'firewall-nftables',
  'firewall-packets',
  'host-device',
  'loopback',
  'macvlan',
  'macvlan-settings',
  'netlink-address',
  'netlink-bridge',
  'netlink-link',
  'netlink-link-find',
  'netlink-neighbour',
  'netlink-route',
  'netlink-socket',
  'netns',
  'nftables',
)

/**
 * Several hosts with etcd and an agent each, and leases of a few seconds: emulated, the leases end before their holders can
 * renew them. What they build in the kernel is that of the overlay and mesh files.
 */
export const clusters: readonly string[] = paths(
  'cluster-ipam',
  'cnictl-overlay',
  'mesh-cluster',
  'mesh-cluster-changes',
  'overlay-examples',
  'overlayd',
  'overlayd-at-once',
  'overlayd-life',
  'overlayd-scale',
  'overlayd-traffic',
)
