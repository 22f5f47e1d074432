/** Requests whose environment is wrong. */

import t from 'tap'
import { withHost } from '../harness/index.ts'
import { assertRefusals } from '../harness/refusals.ts'

t.test('the environment', t =>
  withHost(t, host => {
    const id = (CNI_CONTAINERID: string) => ({ CNI_CONTAINERID })
    const ifname = (CNI_IFNAME: string) => ({ CNI_IFNAME })
    const args = (CNI_ARGS: string) => ({ CNI_ARGS })
    assertRefusals(t, host, () => [
      { what: 'an unknown command', command: 'FROB', code: 4, says: /^unknown CNI_COMMAND: FROB$/ },
      { what: 'a command in lower case', command: 'add', code: 4, says: /^unknown CNI_COMMAND: add$/ },
      {
        what: 'no container id',
        environment: { CNI_CONTAINERID: undefined },
        code: 4,
        says: /^required env variables \[CNI_CONTAINERID\] missing$/,
      },
      {
        what: 'three variables missing',
        environment: { CNI_CONTAINERID: '', CNI_NETNS: undefined, CNI_IFNAME: undefined },
        code: 4,
        says: /^required env variables \[CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME\] missing$/,
      },
      {
        what: 'CHECK without namespace',
        command: 'CHECK',
        environment: { CNI_NETNS: '' },
        code: 4,
        says: /\[CNI_NETNS\] missing/,
      },
      {
        what: 'DEL without container id',
        command: 'DEL',
        environment: { CNI_CONTAINERID: '' },
        code: 4,
        says: /\[CNI_CONTAINERID\] missing/,
      },
      {
        what: 'GC without CNI_PATH',
        command: 'GC',
        environment: { CNI_PATH: '' },
        code: 4,
        says: /\[CNI_PATH\] missing/,
      },
      {
        what: 'a container id that leads elsewhere',
        environment: id('../../etc/passwd'),
        code: 4,
        says: /^invalid characters in containerID$/,
      },
      {
        what: 'a container id that begins with a dot',
        environment: id('.hidden'),
        code: 4,
        says: /^invalid characters in containerID$/,
      },
      {
        what: 'a container id that begins with a dash',
        environment: id('-rf'),
        code: 4,
        says: /^invalid characters in containerID$/,
      },
      {
        what: 'a container id with a blank',
        environment: id('a b'),
        code: 4,
        says: /^invalid characters in containerID$/,
      },
      {
        what: 'a container id with a line feed',
        environment: id('a\nb'),
        code: 4,
        says: /^invalid characters in containerID$/,
      },
      {
        what: 'a container id with an umlaut',
        environment: id('cöntainer'),
        code: 4,
        says: /^invalid characters in containerID$/,
      },
      {
        what: 'an interface name of 16 bytes',
        environment: ifname('eth0123456789012'),
        code: 4,
        says: /^interface name is too long$/,
      },
      {
        what: 'an interface name of 8 letters and 16 bytes',
        environment: ifname('üüüüüüüü'),
        code: 4,
        says: /^interface name is too long$/,
      },
      {
        what: 'an interface name that is a dot',
        environment: ifname('.'),
        code: 4,
        says: /^interface name is \. or \.\.$/,
      },
      {
        what: 'an interface name that is two dots',
        environment: ifname('..'),
        code: 4,
        says: /^interface name is \. or \.\.$/,
      },
      {
        what: 'an interface name with a slash',
        environment: ifname('../eth0'),
        code: 4,
        says: /^interface name contains \/ or :/,
      },
      {
        what: 'an interface name with a colon',
        environment: ifname('eth0:1'),
        code: 4,
        says: /^interface name contains \/ or :/,
      },
      {
        what: 'an interface name with a tab',
        environment: ifname('eth\t0'),
        code: 4,
        says: /^interface name contains \/ or :/,
      },
      {
        what: 'an interface name that the kernel would fill in',
        environment: ifname('eth%d'),
        code: 4,
        says: /interface name/,
      },
      {
        what: 'the interface lo, which is there',
        environment: ifname('lo'),
        code: 104,
        says: /interface "lo" already exists/,
      },
      { what: 'an interface that sysctl means as all', environment: ifname('all'), code: 4, says: /interface name/ },
      {
        what: 'an interface that sysctl means as default',
        environment: ifname('default'),
        code: 4,
        says: /interface name/,
      },
      { what: 'CNI_ARGS without a value', environment: args('MAC'), code: 4, says: /^ARGS: invalid pair "MAC"$/ },
      {
        what: 'CNI_ARGS with two values',
        environment: args('MAC=a=b'),
        code: 4,
        says: /^ARGS: invalid pair "MAC=a=b"$/,
      },
      {
        what: 'CNI_ARGS with an unknown key',
        environment: args('FOO=bar'),
        code: 4,
        says: /^ARGS: unknown args \["FOO=bar"\]$/,
      },
      {
        what: 'CNI_ARGS with keys in lower case',
        environment: args('mac=02:00:00:00:00:01'),
        code: 4,
        says: /^ARGS: unknown args/,
      },
      {
        what: 'IgnoreUnknown that is neither yes nor no',
        environment: args('IgnoreUnknown=maybe'),
        code: 4,
        says: /IgnoreUnknown is "maybe"/,
      },
      {
        what: 'a MAC address that is none',
        environment: args('MAC=02:00:00:00:00'),
        code: 4,
        says: /MAC in CNI_ARGS "02:00:00:00:00" is not a MAC/,
      },
      {
        what: 'a MAC address of a group',
        environment: args('MAC=01:00:5e:00:00:01'),
        code: 4,
        says: /cannot be an interface's address/,
      },
      {
        what: 'a requested address that is none',
        environment: args('IP=10.88.0.300'),
        code: 4,
        says: /10\.88\.0\.300/,
      },
    ])
  }),
)
