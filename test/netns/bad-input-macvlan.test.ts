/** Configurations of the macvlan plugin that are wrong, each with the message that a user needs. */

import t from 'tap'
import { withHost } from '../harness/index.ts'
import { assertRefusals, type Refusal } from '../harness/refusals.ts'
import { createLan, lanAddressing } from './macvlan-fixture.ts'

const plugin = 'macvlan'

const refused = (config: object, says: RegExp, code = 7): Refusal => ({
  what: JSON.stringify(config),
  plugin,
  config,
  code,
  says,
})

t.test('keys of the wrong type or out of range', t =>
  withHost(t, async host => {
    await createLan(host)
    const wrong = (key: string, value: unknown, rest: string) =>
      refused({ [key]: value }, new RegExp(`^"${key}" is .*, but must ${rest}`))
    assertRefusals(
      t,
      host,
      () => [
        wrong('master', 5, 'be a string'),
        wrong('master', '../eth0', 'match'),
        wrong('master', 'eth 0', 'match'),
        wrong('master', '..', 'match'),
        wrong('master', 'e'.repeat(128), 'match'),
        wrong('mode', 'source', 'be one of'),
        wrong('mode', 'Bridge', 'be one of'),
        wrong('mode', 4, 'be one of'),
        wrong('mtu', '1400', 'be an integer'),
        wrong('mtu', -1, 'be an integer from 0 to 65535'),
        wrong('mtu', 65536, 'be an integer from 0 to 65535'),
        wrong('bcqueuelen', -1, 'be an integer from 0 to 4294967295'),
        wrong('bcqueuelen', 4294967296, 'be an integer from 0 to 4294967295'),
        wrong('bcqueuelen', 1.5, 'be an integer'),
        ...['linkInContainer', 'hostAccess', 'enabledad'].map(key => wrong(key, 'true', 'be true or false$')),
        wrong('mac', 5, 'be a string'),
        refused({ MTU: 'x' }, /^"mtu" is "x"/),
        refused({ mtu: 67 }, /^mtu is 67$/),
      ],
      { master: 'uplink', ipam: lanAddressing(host) },
    )
  }),
)

t.test('keys that contradict each other, and what the host does not have', t =>
  withHost(t, async host => {
    await createLan(host)
    host.ip('link add br9 type bridge\nlink add tap9 type veth peer name tap8\nlink set tap9 master br9')
    assertRefusals(
      t,
      host,
      () => [
        refused({ hostAccess: true, mode: 'private' }, /^hostAccess is true and mode is "private"$/),
        refused({ hostAccess: true, mode: 'passthru' }, /^hostAccess is true and mode is "passthru"$/),
        refused({ hostAccess: true, linkInContainer: true }, /^hostAccess and linkInContainer are both true$/),
        refused({ hostAccess: true, ipam: {} }, /^hostAccess is true and there is no "ipam"$/),
        refused({ cniVersion: '0.2.0', ipam: {} }, /^cannot convert: no valid IP addresses$/, 1),
        refused({ mac: '01:00:5e:00:00:01' }, /^mac "01:00:5e:00:00:01" cannot be an interface's address$/),
        refused({ mac: 'garbage' }, /^mac "garbage" is not a MAC address$/),
        refused({ runtimeConfig: { mac: 'garbage' } }, /^runtimeConfig\.mac "garbage" is not a MAC address$/),
        refused({ args: { cni: { mac: 'garbage' } } }, /^args\.cni\.mac "garbage" is not a MAC address$/),
        {
          what: 'MAC',
          plugin,
          environment: { CNI_ARGS: 'IgnoreUnknown=1;MAC=x' },
          code: 4,
          says: /^MAC in CNI_ARGS "x"/,
        },
        refused({ mtu: 1501 }, /^mtu 1501 is above that of master "uplink", 1500$/),
        refused({ master: 'nowhere' }, /^master "nowhere" does not exist on the host$/, 109),
        refused({ master: 'uplink', linkInContainer: true }, /^master "uplink" does not exist in the container$/, 109),
        refused({ master: '' }, /^no "master" is given, and there is no default route on the host$/, 109),
        refused({ master: 'lo' }, /^master "lo" is the loopback interface$/),
        refused({ master: 'tap9' }, /^master "tap9" is a port of bridge "br9", which takes all of its frames$/, 104),
        refused({ master: 'uplink.0' }, /cannot be made: VLAN 0 is not between 1 and 4094$/),
        refused({ master: 'uplink.4095' }, /cannot be made: VLAN 4095 is not between 1 and 4094$/),
        refused({ master: 'nowhere.10' }, /^master "nowhere" does not exist on the host$/, 109),
        refused({ master: 'uplink.a' }, /^master "uplink\.a" does not exist on the host$/, 109),
        refused({ master: 'uplink.10.20' }, /^master "uplink\.10\.20" does not exist on the host$/, 109),
        refused({ master: 'uplink.123456789' }, /cannot be made: VLAN 123456789 is not between/),
        refused({ master: 'tap8.10' }, /^"tap8" is down, and so VLAN 10 on it cannot be brought up$/, 104),
      ],
      { master: 'uplink', ipam: lanAddressing(host) },
    )
  }),
)
