/** Configurations of the bridge plugin that are wrong, each with the message that a user needs. */

import t from 'tap'
import { Network, withHost } from '../harness/index.ts'
import { assertRefusals, type Refusal } from '../harness/refusals.ts'

const booleans = [
  'isGateway',
  'isDefaultGateway',
  'forceAddress',
  'ipMasq',
  'hairpinMode',
  'promiscMode',
  'preserveDefaultVlan',
  'macspoofchk',
  'enabledad',
  'disableContainerInterface',
  'portIsolation',
]

const wrong = (key: string, value: unknown, says: RegExp): Refusal => ({
  what: `${key}: ${JSON.stringify(value)}`,
  config: { [key]: value },
  code: 7,
  says,
})

t.test('keys of the wrong type or out of range', t =>
  withHost(t, host => {
    const must = (key: string, shown: string, rest: string) => new RegExp(`^"${key}" is ${shown}, but must ${rest}`)
    assertRefusals(t, host, () => [
      ...booleans.flatMap(key => [
        wrong(key, 'true', must(key, '"true"', 'be true or false$')),
        wrong(key, 1, must(key, '1', 'be true or false$')),
      ]),
      {
        what: 'another spelling of a key, and the wrong type',
        config: { ISGATEWAY: 'yes' },
        code: 7,
        says: /"isGateway" is "yes"/,
      },
      wrong('bridge', 5, must('bridge', '5', 'be a string')),
      wrong('bridge', 'bridge0123456789', must('bridge', '"bridge0123456789"', 'match')),
      wrong('bridge', 'brücken01234567', /^bridge name "brücken01234567" is longer than 15 bytes$|^"bridge" is/),
      wrong('bridge', '..', must('bridge', '"\\.\\."', 'match')),
      wrong('bridge', '../../br0', must('bridge', '".*"', 'match')),
      wrong('bridge', 'br 0', must('bridge', '"br 0"', 'match')),
      wrong('bridge', 'br%d', must('bridge', '"br%d"', 'match')),
      wrong('bridge', 'all', must('bridge', '"all"', 'match')),
      wrong('bridge', 'br\0', /^"bridge" is /),
      wrong('bridge', 'br\n', /^"bridge" is /),
      wrong('ipMasqBackend', 'pf', must('ipMasqBackend', '"pf"', 'be one of "nftables", "iptables"')),
      wrong('ipMasqBackend', true, must('ipMasqBackend', 'true', 'be one of')),
      wrong('mtu', '1500', must('mtu', '"1500"', 'be an integer')),
      wrong('mtu', 1500.5, must('mtu', '1500\\.5', 'be an integer')),
      wrong('mtu', -1, must('mtu', '-1', 'be an integer from 0 to 65535')),
      wrong('mtu', 65536, must('mtu', '65536', 'be an integer from 0 to 65535')),
      wrong('mtu', 1e300, /^"mtu" is 1e\+300/),
      wrong('mtu', 67, /^mtu is 67$/),
      wrong('vlan', '5', must('vlan', '"5"', 'be an integer')),
      wrong('vlan', -1, must('vlan', '-1', 'be an integer from 0 to 4094')),
      wrong('vlan', 4095, must('vlan', '4095', 'be an integer from 0 to 4094')),
      wrong('vlanTrunk', {}, must('vlanTrunk', '\\{\\}', 'be a list')),
      wrong('vlanTrunk', [5], must('vlanTrunk\\[0\\]', '5', 'be an object')),
      wrong('vlanTrunk', [{}], /^vlanTrunk\[0\] is \{\}$/),
      wrong('vlanTrunk', [{ id: 5 }, { id: 0 }], /^vlanTrunk\[1\] is \{"id":0\}$/),
      wrong('vlanTrunk', [{ id: 4095 }], /^"vlanTrunk\[0\]\.id" is 4095/),
      wrong('vlanTrunk', [{ minID: 5 }], /^vlanTrunk\[0\] is \{"minID":5\}$/),
      wrong('vlanTrunk', [{ minID: 9, maxID: 3 }], /^vlanTrunk\[0\]: minID 9 is above maxID 3$/),
      wrong('vlanTrunk', [{ id: 5, minID: 1, maxID: 9 }], /^vlanTrunk\[0\] is /),
      { what: 'two keys that are wrong', config: { mtu: 'x', vlan: 'y' }, code: 7, says: /^"(mtu|vlan)" is / },
    ])
  }),
)

t.test('the details say what is allowed, and all that is wrong', t =>
  withHost(t, host => {
    const { error } = new Network(host, { mtu: 'x', vlan: 'y' }).attachment().tryAdd()
    t.match(error?.details, /mtu: 0 \(kernel's default\) or 68 to 65535/)
    t.match(error?.details, /also: "vlan" is "y"/)
  }),
)

t.test('keys that contradict each other', t =>
  withHost(t, host => {
    assertRefusals(t, host, () => [
      {
        what: 'hairpin and promiscuous mode',
        config: { hairpinMode: true, promiscMode: true },
        code: 7,
        says: /^hairpinMode and promiscMode are both true$/,
      },
      {
        what: 'addresses for an interface that stays down',
        config: { disableContainerInterface: true },
        code: 7,
        says: /^disableContainerInterface is true and ipam\.type is "host-local"$/,
      },
      {
        what: 'no addresses in a version whose results need one',
        config: { cniVersion: '0.2.0', ipam: {} },
        code: 1,
        says: /^cannot convert: no valid IP addresses$/,
      },
    ])
  }),
)

t.test('MAC addresses that an interface cannot have', t =>
  withHost(t, host => {
    const macs: [string, RegExp][] = [
      ['garbage', /is not a MAC address$/],
      ['02:00:00:00:00', /is not a MAC address$/],
      ['02:00:00:00:00:00:01', /is not a MAC address$/],
      ['02:00:00:00:00:0g', /is not a MAC address$/],
      ['01:00:5e:00:00:01', /cannot be an interface's address$/],
      ['ff:ff:ff:ff:ff:ff', /cannot be an interface's address$/],
      ['00:00:00:00:00:00', /cannot be an interface's address$/],
    ]
    assertRefusals(t, host, () => [
      ...macs.map(([mac, says]) => ({
        what: `runtimeConfig.mac ${mac}`,
        config: { runtimeConfig: { mac } },
        code: 7,
        says,
      })),
      ...macs.map(([mac, says]) => ({
        what: `args.cni.mac ${mac}`,
        config: { args: { cni: { mac } } },
        code: 7,
        says,
      })),
      {
        what: 'a MAC that is a number',
        config: { runtimeConfig: { mac: 2 } },
        code: 7,
        says: /"runtimeConfig\.mac" is 2/,
      },
    ])
  }),
)

t.test('a bridge name that another kind of link has', t =>
  withHost(t, host => {
    host.ip('link add taken type veth peer name other')
    const isNone = /^"(taken|lo)" already exists but is not a bridge$/
    assertRefusals(t, host, () => [
      { what: 'a veth', config: { bridge: 'taken' }, code: 104, says: isNone },
      { what: 'the loopback interface', config: { bridge: 'lo' }, code: 104, says: isNone },
    ])
  }),
)
