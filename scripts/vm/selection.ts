/**
 * What of the netns suite `npm test` runs on the second kernel: what builds most in the kernel and sends packets through
 * it. Emulated, a program starts about twenty times slower, and all of the suite would take half an hour on two
 * processors; `npm run test:vm` runs it all.
 */
export const selected: readonly string[] = [
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
  'netlink-neighbour',
  'netlink-route',
  'netlink-socket',
  'netns',
  'nftables',
].map(name => `test/netns/${name}.test.ts`)
