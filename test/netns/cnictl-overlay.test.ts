/** cnictl overlay: what it shows of networks and hosts that are in order, and what it finds when they are not. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  type Attachment,
  type Cluster,
  type ClusterHost,
  type NamedNamespace,
  type Outcome,
  pluginDirectory,
  until,
  withCluster,
} from '../harness/index.ts'
import { ingressOn, serviceOf, startReplica, withMesh } from './mesh-cluster-fixture.ts'
import { overlayOn, ownAddresses, staticPeers } from './overlay-fixture.ts'
import { agentNetwork, rowsOn, withAgents } from './overlayd-fixture.ts'
import { startListener } from './socket-fixture.ts'

interface Finding {
  readonly gravity: string
  readonly network?: string
  readonly what: string
  readonly remedy: string
}

interface Document {
  readonly networks: readonly Record<string, unknown>[]
  readonly peers: readonly Record<string, unknown>[]
  readonly replicas: readonly Record<string, unknown>[]
  readonly findings: readonly Finding[]
}

const configurationOf = (host: ClusterHost): string => join(host.directory, 'net.d')

/** Runs cnictl on a host; networks without agents are configured where `attachConfigured` says so. */
function cnictl(host: ClusterHost, ...words: string[]): Outcome {
  const environment = { NETCONFPATH: configurationOf(host) }
  return host.execute([join(pluginDirectory, 'cnictl'), 'overlay', ...words], { environment })
}

/** The document that a command prints. @param status that it has to end with */
function document(t: Test, host: ClusterHost, status: number, ...words: string[]): Document {
  const { status: ended, stdout, stderr } = cnictl(host, ...words, '--json')
  t.equal(ended, status, `${words.join(' ')} ends with ${status}: ${stderr}`)
  const answer = JSON.parse(stdout) as Document
  if (ended !== status) t.comment(stdout)
  return answer
}

/** Runs a command that has to find something of this gravity, and nothing else. @returns what is found */
function finds(t: Test, host: ClusterHost, gravity: string, what: RegExp, ...words: string[]): Finding | undefined {
  const { findings } = document(t, host, gravity === 'error' ? 1 : 0, ...words)
  const found = findings.filter(finding => what.test(finding.what))
  t.match(found, [{ gravity }], `${what}: ${JSON.stringify(findings)}`)
  t.equal(findings.length, found.length, 'and nothing else')
  return found[0]
}

/** The network "web" with static peers on hosts, its configuration where cnictl looks for it, a container each. */
function attachConfigured(
  cluster: Cluster,
  hosts: readonly ClusterHost[] = cluster.hosts,
  config: object = {},
): Attachment[] {
  return hosts.map(host => {
    const network = overlayOn(cluster, host, { internal: true, ...config })
    mkdirSync(configurationOf(host))
    writeFileSync(join(configurationOf(host), 'web.conf'), JSON.stringify(network.config))
    return network.attach()
  })
}

const overlayOf = (host: ClusterHost): NamedNamespace => host.named('overlay-web')

t.test('a host without overlay networks', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    t.match(cnictl(host, 'networks'), { status: 0, stdout: 'no overlay network is on this host\n', stderr: '' })
    t.match(cnictl(host, 'check'), {
      status: 0,
      stdout: '0 overlay networks on this host, 0 peers asked: everything is in order\n',
      stderr: '',
    })
    t.match(cnictl(host, 'peers', 'web'), {
      status: 2,
      stderr: /^cnictl overlay peers: no overlay network "web" is on this host\n.*\nSee "cnictl overlay peers --help"/,
    })
    const user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all']
    const outcome = host.execute([...user, join(pluginDirectory, 'cnictl'), 'overlay', 'check', '--json'])
    t.equal(outcome.status, 1)
    t.match(JSON.parse(outcome.stdout), { code: 4, details: /run cnictl as root/ })
  }),
)

for (const [family, overhead] of [
  ['ipv4', 50],
  ['ipv6', 70],
] as const) {
  t.test(`hosts that are in order, over ${family}`, t =>
    withCluster(t, { hosts: 3 }, async cluster => {
      const controlPlane = staticPeers(cluster, family)
      const [first, second] = attachConfigured(cluster, cluster.hosts.slice(0, 2), { controlPlane })
      if (first === undefined || second === undefined) throw new Error('two attachments were asked for')
      t.ok(first.container.pings(ownAddresses(second)[0] ?? '', 1))
      const host = cluster.host(1)
      const [other, absent] = [cluster.host(2), cluster.host(3)].map(({ underlay }) => underlay[family])
      const { networks } = document(t, host, 0, 'networks')
      t.match(networks, [
        {
          network: 'web',
          controlPlane: 'static',
          vni: 4097,
          port: 4789,
          local: host.underlay[family],
          mtu: 1500 - overhead,
          hosts: [{ address: other }, { address: absent }],
          containers: [{ containerId: first.containerId, ifname: 'eth0' }],
          state: 'in order',
        },
      ])
      // The kernel refuses once a second, and there are broadcasts as well that it has to refuse.
      await until('it is told that the third has no tunnel', () =>
        cnictl(host, 'peers', 'web').stdout.includes('yes, no tunnel there'),
      )
      const { peers, findings } = document(t, host, 0, 'peers', 'web')
      const known = { needed: 1500, pathMtu: 1500, wanted: true, flooded: true, admitted: true }
      t.match(peers, [
        { ...known, address: other, state: 'answers', entries: { present: 1 } },
        // Its first container has not come yet.
        { ...known, address: absent, entries: { present: 0 } },
      ])
      t.same(findings, [])
      t.match(cnictl(host, 'check'), {
        status: 0,
        stdout: '1 overlay network on this host, 2 peers asked: everything is in order\n',
      })
    }),
  )
}

t.test('peers that are cut off, or behind a way that is too narrow', t =>
  withCluster(t, { hosts: 3 }, cluster => {
    attachConfigured(cluster)
    const host = cluster.host(1)
    // A veth takes 4 bytes more: room for a VLAN.
    cluster.host(2).ip('link set uplink mtu 1403')
    cluster.host(3).disconnect()
    const { peers, findings } = document(t, host, 1, 'peers', 'web')
    t.match(peers, [
      { address: '192.0.2.2', state: 'answers', pathMtu: 1407, needed: 1500 },
      { address: '192.0.2.3', state: /^(silent|unreachable)$/ },
    ])
    t.equal(findings.length, 2)
    t.match(findings[0], {
      gravity: 'error',
      network: 'web',
      what: 'packets of 1500 bytes do not get to peer 192.0.2.2, the way carries 1407',
      remedy: /^set "mtu" of the network to 1357 on all hosts/,
    })
    t.match(findings[1]?.what, /^peer 192\.0\.2\.3 (does not answer|is unreachable)/)
    t.match(document(t, host, 0, 'peers', 'web', '--without-probe').peers, [
      { state: 'not asked' },
      { state: 'not asked' },
    ])
    // Seen from there: its own interface does not carry what the tunnel sends.
    const { findings: there } = document(t, cluster.host(2), 1, 'check', '--without-probe')
    t.match(there, [{ gravity: 'error', what: /up to 1500 bytes, and "uplink" carries 1403/ }])
    cluster.host(3).reconnect()
    cluster.host(2).ip('link set uplink mtu 1500')
    document(t, host, 0, 'check')
  }),
)

t.test('everything that can be taken away from a network is missed', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const [first] = attachConfigured(cluster)
    if (first === undefined) throw new Error('two attachments were asked for')
    const host = cluster.host(1)
    const overlay = overlayOf(host)
    const everybody = '00:00:00:00:00:00 dev vxlan0 dst'

    overlay.output(['bridge', 'fdb', 'del', ...`${everybody} 192.0.2.2`.split(' ')])
    finds(t, host, 'error', /^broadcasts do not go to 192\.0\.2\.2$/, 'networks')
    overlay.output(['bridge', 'fdb', 'append', ...`${everybody} 192.0.2.2`.split(' ')])
    overlay.output(['bridge', 'fdb', 'append', ...`${everybody} 192.0.2.7`.split(' ')])
    finds(t, host, 'warning', /^broadcasts go to hosts that are no peers: 192\.0\.2\.7$/, 'networks')
    overlay.output(['bridge', 'fdb', 'del', ...`${everybody} 192.0.2.7`.split(' ')])
    document(t, host, 0, 'check')
    overlay.output(['bridge', 'fdb', 'append', ...`${everybody} 192.0.2.7`.split(' ')])
    t.match(cnictl(host, 'peers', 'web', '--without-probe').stdout, /^192\.0\.2\.7 \(not wanted\) /m)
    // Where nobody says what is wanted, nobody is unwanted.
    t.notMatch(cnictl(host, 'peers', 'web', '--without-probe', '--config-dir', '/none').stdout, /not wanted/)
    overlay.output(['bridge', 'fdb', 'del', ...`${everybody} 192.0.2.7`.split(' ')])

    host.output(['nft', 'delete element inet cnikit-overlay peers-ipv4 { 4789 . 0x1001 . 192.0.2.2 }'])
    finds(t, host, 'error', /^packets are dropped of 192\.0\.2\.2$/, 'networks')
    host.output(['nft', 'flush ruleset'])
    finds(t, host, 'error', /^packets of any host are taken/, 'networks')

    overlay.ip('link set vxlan0 nomaster')
    t.match(
      cnictl(host, 'networks').stdout,
      /^error: network web: "vxlan0" is no port of "br0"\n {2}ip -n overlay-web /m,
    )
    overlay.ip('link set br0 down')
    t.match(cnictl(host, 'networks').stdout, /"br0" is down\n {2}ip -n overlay-web link set br0 up\n/)
    overlay.ip('link del vxlan0')
    t.match(cnictl(host, 'networks').stdout, /has no VXLAN device "vxlan0"\n {2}the next ADD/)

    // Which is true.
    overlayOn(cluster, host, { internal: true }).attach()
    document(t, host, 0, 'check')
    host.ip('addr del 192.0.2.1/24 dev uplink')
    const gone = document(t, host, 1, 'check', '--without-probe').findings
    t.match(
      gone.filter(({ what }) => what.includes('tunnel address')),
      [{ gravity: 'error', what: 'the tunnel address 192.0.2.1 is no address of this host' }],
    )
  }),
)

t.test('who has the port of the tunnels', t =>
  withCluster(t, { hosts: 2 }, async cluster => {
    const host = cluster.host(1)
    const listener = await startListener(host, 'udp,0.0.0.0,4789')
    const found = finds(t, host, 'error', /^UDP port 4789 of the tunnels is taken by listener \(process \d+/, 'check')
    t.match(found?.remedy, new RegExp(`^kill ${listener.pid},`))
    await listener.stop()
    host.ip('link add flannel.1 type vxlan id 1 dstport 4789 local 192.0.2.1 dev uplink\nlink set flannel.1 up')
    attachConfigured(cluster)
    finds(t, host, 'hint', /^UDP port 4789 is shared with other tunnels: flannel\.1 \(VNI 1\)$/, 'check')
    host.ip('link del flannel.1')
    document(t, host, 0, 'check')
  }),
)

t.test("firewalls of others, forwarding that is off, strangers' packets", t =>
  withCluster(t, { hosts: 2 }, cluster => {
    attachConfigured(cluster, cluster.hosts, { internal: false })
    const host = cluster.host(1)
    document(t, host, 0, 'check')
    const chain = (name: string, hook: string) =>
      `chain ${name} { type filter hook ${hook} priority 0; policy drop; }\n`
    host.output(['nft', '-f', '-'], { input: `table ip filter {\n ${chain('FORWARD', 'forward')} }\n` })
    const dropped = finds(t, host, 'warning', /^chain "ip filter FORWARD" drops what is forwarded/, 'check')
    t.match(dropped?.remedy, /^nft insert rule ip filter FORWARD iifname docker_gwbridge accept; nft insert rule/)
    host.output(['sh', '-ec', dropped?.remedy ?? 'false'])
    host.output(['nft', 'delete', 'table', 'ip', 'filter'])

    host.output(['nft', '-f', '-'], { input: `table inet own {\n ${chain('input', 'input')} }\n` })
    const closed = document(t, host, 1, 'check').findings
    t.match(closed.at(-1), {
      gravity: 'warning',
      what: /^chain "inet own input" drops what comes in/,
      remedy: 'nft insert rule inet own input udp dport 4789 accept',
    })
    host.output(['nft', 'delete', 'table', 'inet', 'own'])

    host.output(['sysctl', '-qw', 'net.ipv4.ip_forward=0'])
    const off = finds(t, host, 'error', /^this host does not forward: net\.ipv4\.ip_forward is 0/, 'check')
    host.output(['sh', '-c', off?.remedy ?? 'false'])
    document(t, host, 0, 'check')

    cluster.outside.ip(`
link add forged type vxlan id 4097 remote 192.0.2.1 dstport 4789
addr add 10.1.0.250/24 dev forged
link set forged up`)
    cluster.outside.pings('10.1.0.251', 1)
    const stranger = finds(t, host, 'warning', /^\d+ packets were dropped since they came from hosts/, 'check')
    t.match(stranger?.remedy, /^tcpdump -ni any udp port 4789 /)
  }),
)

t.test('tables that an agent keeps', t =>
  withAgents(t, { hosts: 3 }, async ({ cluster, agent }) => {
    const attachments = cluster.hosts.map(host => agentNetwork(cluster, host).attach())
    const host = cluster.host(1)
    await until('the last of them is known', () => rowsOn(host).length === 8)
    t.match(document(t, host, 0, 'networks').networks, [
      {
        network: 'web',
        controlPlane: 'etcd',
        hosts: [
          { address: '192.0.2.2', node: 'node-2' },
          { address: '192.0.2.3', node: 'node-3' },
        ],
        entries: { present: 8, wanted: 8 },
        state: 'in order',
      },
    ])
    t.match(document(t, host, 0, 'peers', 'web').peers, [
      { address: '192.0.2.2', node: 'node-2', state: 'answers', pathMtu: 1500, entries: { present: 4, wanted: 4 } },
      { address: '192.0.2.3', node: 'node-3', state: 'answers', pathMtu: 1500, entries: { present: 4, wanted: 4 } },
    ])
    document(t, host, 0, 'check')

    const [, second] = attachments
    const [address = ''] = second === undefined ? [] : ownAddresses(second)
    const overlay = overlayOf(host)
    overlay.ip(`neigh del ${address} dev br0`)
    overlay.output(['bridge', 'fdb', 'add', '02:00:00:00:00:99', 'dev', 'vxlan0', 'dst', '192.0.2.3', 'self'])
    const { findings, peers } = document(t, host, 1, 'peers', 'web')
    t.match(findings, [
      { gravity: 'error', what: new RegExp(`^1 entries .* missing or others: neighbour ${address} `) },
      { gravity: 'warning', what: /^1 entries lead to containers that etcd does not have: tunnel 02:00:00:00:00:99/ },
    ])
    t.match(peers, [
      { entries: { present: 3, wanted: 4, missing: [new RegExp(`^neighbour ${address} `)], tooMuch: [] } },
      { entries: { present: 5, wanted: 4, missing: [], tooMuch: [/^tunnel 02:00:00:00:00:99 192\.0\.2\.3/] } },
    ])
    // What the finding says mends it.
    await agent(1).stop()
    await agent(1).start()
    await until('the tables are mended', () => rowsOn(host).length === 8)
    document(t, host, 0, 'check')

    await agent(1).stop('SIGKILL')
    const networks = cnictl(host, 'networks')
    t.match(networks.stderr, /^cnictl: overlayd does not answer at "\/run\/cnikit\/overlayd\.sock"/)
    t.match(networks.stdout, /web .* not compared\n\nwarning: network web: its tables were not compared/)
    const check = document(t, host, 1, 'check').findings
    t.match(check[0], { gravity: 'error', what: /^overlayd does not answer/, remedy: /systemctl start overlayd/ })
    attachments[0]?.del()
    t.match(cnictl(host, 'check').stdout, /warning: 1 releases of containers wait for the agent in /)
  }),
)

t.test('services and their slots', t =>
  withMesh(t, 2, async ({ cluster, agent }) => {
    const [one, two] = [cluster.host(1), cluster.host(2)]
    t.match(cnictl(one, 'services'), { status: 0, stdout: 'no service publishes a port\n' })
    const replica = await startReplica(ingressOn(one), [serviceOf()])
    const port = { published: 9000, target: 80, protocol: 'tcp', mode: 'local' } as const
    await startReplica(ingressOn(one), [serviceOf({ name: 'local', ports: [port] })])
    for (const host of [one, two]) await until('it is served', () => cnictl(host, 'services', '--json').status === 0)
    const serving = { service: 'web', mode: 'mesh', node: 'node-1', state: 'serving', slots: 16, of: 16 }
    const [v4 = '', v6 = ''] = ownAddresses(replica.attachment)
    const mesh = ['tcp', 'udp'].flatMap(protocol =>
      [`${v4}:80`, `[${v6}]:80`].map(target => ({ ...serving, port: `8080/${protocol}`, replica: target })),
    )
    const local = { service: 'local', mode: 'local', port: '9000/tcp', node: 'node-1' }
    t.match(document(t, two, 0, 'services').replicas, [
      ...mesh,
      { ...local, state: 'on its host', slots: 0 },
      { ...local, state: 'on its host', slots: 0 },
    ])
    t.match(document(t, one, 0, 'services').replicas.slice(4), [
      { ...local, state: 'serving', slots: 16 },
      { ...local, state: 'serving', slots: 16 },
    ])
    document(t, one, 0, 'check')

    const balancer = one.named('ingress-load-balancer')
    balancer.output(['nft', 'flush map inet cnikit-mesh replicas'])
    const found = document(t, one, 1, 'services').findings
    t.match(found.map(({ what }) => what).sort(), [
      `service "web": no connections at 8080/tcp are led to ${v4}:80`,
      `service "web": no connections at 8080/udp are led to ${v4}:80`,
    ])
    t.match(cnictl(one, 'check').stdout, /^error: service "web": no connections at 8080\/tcp are led to/m)
    await agent(1).stop('SIGKILL')
    const alone = document(t, two, 0, 'services').replicas
    t.ok(alone.length >= 6)
    const { replicas, findings } = document(t, one, 1, 'services')
    t.match(findings, [{ gravity: 'error', what: /^which services there are is not known: overlayd does not answer/ }])
    t.match(replicas[0], { mode: 'mesh', replica: `[${v6}]:80`, slots: 16, of: 16, state: 'unknown' })
  }),
)
