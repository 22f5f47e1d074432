/** Requests to the host plugin that are wrong in themselves, and those that only look so. */

import t from 'tap'
import { withHost } from '../harness/index.ts'
import { assertRefusals, type Refusal } from '../harness/refusals.ts'
import { mustRun, ports, prepareUplink } from './host-fixture.ts'

interface Wrong {
  readonly what: string
  readonly config: object
  readonly code?: number
  readonly says: RegExp
}

const differ =
  /portMappings\[0\]: hostPort 80 and containerPort 8080 differ, but in the host's network nothing translates/
const clash = /^runtimeConfig\.portMappings\[0\] and runtimeConfig\.portMappings\[1\] both want /

const wrong: readonly Wrong[] = [
  {
    what: 'an address plugin',
    config: { ipam: { type: 'host-local' } },
    says: /^"ipam" is .* has its addresses already/,
  },
  { what: 'addresses without a plugin', config: { ipam: { ranges: [] } }, says: /^"ipam" is/ },
  { what: 'interfaces that are a text', config: { interfaces: 'eth0' }, says: /"interfaces" is "eth0"/ },
  { what: 'an interface that is a number', config: { interfaces: [0] }, says: /"interfaces\[0\]" is 0/ },
  { what: 'an interface without a name', config: { interfaces: ['eth0', ''] }, says: /"interfaces\[1\]" is ""/ },
  { what: 'an interface with a blank', config: { interfaces: ['eth 0'] }, says: /"interfaces\[0\]"/ },
  { what: 'an interface with a slash', config: { interfaces: ['../eth0'] }, says: /"interfaces\[0\]"/ },
  { what: 'an exclusion of nothing', config: { interfaces: ['!'] }, says: /"interfaces\[0\]"/ },
  { what: 'resolvConf that is a number', config: { resolvConf: 1 }, says: /"resolvConf" is 1/ },
  { what: 'resolvConf that is empty', config: { resolvConf: '' }, says: /"resolvConf" is "", but must not be empty/ },
  { what: 'mappings that are no list', config: { runtimeConfig: { portMappings: {} } }, says: /portMappings" is {}/ },
  {
    what: 'a mapping that is a number',
    config: { runtimeConfig: { portMappings: [80] } },
    says: /portMappings\[0\]" is 80/,
  },
  { what: 'a mapping without hostPort', config: ports({ containerPort: 80 }), says: /hostPort" is missing/ },
  ...[0, -1, 65_536, 80.5, '80', [80]].map(hostPort => ({
    what: `hostPort ${JSON.stringify(hostPort)}`,
    config: ports({ hostPort }),
    says: /hostPort" is .*, but must be an integer/,
  })),
  { what: 'another containerPort', config: ports({ hostPort: 80, containerPort: 8080 }), says: differ },
  {
    what: 'containerPort 65536',
    config: ports({ hostPort: 80, containerPort: 65_536 }),
    says: /containerPort" is 65536/,
  },
  { what: 'a protocol without ports', config: ports({ hostPort: 80, protocol: 'icmp' }), says: /protocol" is "icmp"/ },
  { what: 'a protocol that is a number', config: ports({ hostPort: 80, protocol: 6 }), says: /protocol" is 6/ },
  { what: 'a protocol with a line feed', config: ports({ hostPort: 80, protocol: 'tcp\n' }), says: /protocol" is/ },
  ...['localhost', '10.0.0.0/8', '10.0.0', 'fe80::1%uplink', '[::1]', '0'].map(hostIP => ({
    what: `hostIP ${hostIP}`,
    config: ports({ hostPort: 80, hostIP }),
    says: /portMappings\[0\]\.hostIP is ".*", which is not an IP address/,
  })),
  {
    what: 'hostIP of another host',
    config: ports({ hostPort: 80, hostIP: '192.0.2.9' }),
    says: /192\.0\.2\.9 is no address/,
  },
  { what: 'a mapping twice', config: ports({ hostPort: 80 }, { hostPort: 80 }), says: /both want TCP port 80$/ },
  {
    what: 'a mapping twice in other words',
    config: ports({ hostPort: 80, protocol: 'tcp' }, { hostPort: 80, protocol: 'TCP', containerPort: 80, hostIP: '' }),
    says: clash,
  },
  {
    what: 'an address, and all of its family',
    config: ports({ hostPort: 80, hostIP: '127.0.0.1' }, { hostPort: 80, hostIP: '0.0.0.0' }),
    says: clash,
  },
  { what: 'an address, and all', config: ports({ hostPort: 80, hostIP: '::1' }, { hostPort: 80 }), says: clash },
  {
    what: 'an address in two ways of writing',
    config: ports({ hostPort: 80, hostIP: '127.0.0.1' }, { hostPort: 80, hostIP: '::ffff:127.0.0.1' }),
    says: /both want TCP port 80 of 127\.0\.0\.1$/,
  },
]

t.test('a wrong configuration is refused with the key and the value', t =>
  withHost(t, host => {
    prepareUplink(host)
    const cases = wrong.map(
      (one): Refusal => ({ code: 7, ...one, plugin: 'host', environment: { CNI_NETNS: host.path } }),
    )
    // What the plugin refuses on ADD it refuses on CHECK, as far as it depends on the configuration alone.
    const checked = cases
      .filter(({ what }) => what !== 'hostIP of another host')
      .map(one => ({ ...one, command: 'CHECK', config: { ...(one.config as object), prevResult: {} } }))
    assertRefusals(t, host, () => [...cases, ...checked], { ipam: undefined })
  }),
)

t.test('variables that are wrong are refused', t =>
  withHost(t, host => {
    prepareUplink(host)
    assertRefusals(
      t,
      host,
      ({ container }) =>
        [
          { what: 'a container’s namespace', environment: {}, code: 8, says: `"${container.path}" is not the host's` },
          { what: 'no namespace', environment: { CNI_NETNS: '/dev/null' }, code: 8, says: 'not a network namespace' },
          {
            what: 'no container id',
            environment: { CNI_NETNS: host.path, CNI_CONTAINERID: undefined },
            code: 4,
            says: '\\[CNI_CONTAINERID\\] missing',
          },
          {
            what: 'no interface name, and no namespace, which need not be there',
            environment: { CNI_NETNS: undefined, CNI_IFNAME: '' },
            code: 4,
            says: '\\[CNI_IFNAME\\] missing',
          },
        ].map(one => ({ ...one, plugin: 'host', says: new RegExp(one.says) })),
      { ipam: undefined },
    )
  }),
)

t.test('what only looks wrong is served', t =>
  withHost(t, host => {
    prepareUplink(host)
    const right: readonly object[] = [
      { ipam: {} },
      { ipam: { type: '' } },
      { ipam: null, interfaces: null, resolvConf: null, runtimeConfig: null },
      { interfaces: [] },
      { runtimeConfig: { portMappings: null } },
      ports(),
      ports({ hostPort: 80 }, { hostPort: 80, protocol: 'udp' }, { hostPort: 80, protocol: 'sctp' }, { hostPort: 81 }),
      ports({ hostPort: 80, containerPort: 0, protocol: '' }),
      ports({ HostPort: 80, ContainerPort: 80, Protocol: 'Tcp', HostIP: '127.0.0.1' }),
      ports({ hostPort: 80, hostIP: '0.0.0.0' }, { hostPort: 80, hostIP: '::' }),
      ports({ hostPort: 80, hostIP: '127.0.0.1' }, { hostPort: 80, hostIP: '127.0.0.2' }),
      { somethingElse: true, bridge: 'cni0' },
    ]
    for (const keys of right) t.ok(mustRun(host, 'ADD', keys).result, JSON.stringify(keys))
    t.ok(mustRun(host, 'ADD', {}, { args: 'IP=10.0.0.1;K8S_POD_NAME=web' }).result, 'CNI_ARGS are for others')
  }),
)
