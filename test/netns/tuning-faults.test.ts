/** tuning's ADD that does not come to its end: interface, namespace, host and backups are as they were. */

import t from 'tap'
import { differences, type Host, type NetworkNamespace, snapshot, withHost } from '../harness/index.ts'
import { backups, behind, bridged, settingsOf, sysctlOf, tuningNetwork } from './tuning-fixture.ts'

const keys = {
  mac: '02:00:00:00:77:01',
  mtu: 1400,
  promisc: true,
  allmulti: true,
  txQLen: 500,
  sysctl: { 'net.core.somaxconn': '517', 'net.ipv4.conf.IFNAME.arp_filter': '1' },
}

/** Tells what is not as it was; sysctls that a snapshot does not know included. */
function watch(host: Host, container: NetworkNamespace): () => string[] {
  const state = () => [snapshot(host), snapshot(container), somaxconn(container)] as const
  const before = state()
  return () => {
    const after = state()
    const sysctls = before[2] === after[2] ? [] : [`somaxconn is ${after[2]}`]
    return [...differences(before[0], after[0]), ...differences(before[1], after[1]), ...sysctls]
  }
}

const somaxconn = (container: NetworkNamespace): string =>
  container.output(['cat', '/proc/sys/net/core/somaxconn', '/proc/sys/net/ipv4/conf/eth0/arp_filter'])

const situations: Readonly<Record<string, object>> = {
  everything: keys,
  'sysctls alone': { sysctl: keys.sysctl },
  'the interface alone': { ...keys, sysctl: {} },
}

for (const [situation, settings] of Object.entries(situations))
  t.test(`a failure at any step of ADD leaves nothing: ${situation}`, t =>
    withHost(t, host => {
      const main = bridged(host).attach()
      const changes = watch(host, main.container)
      const network = tuningNetwork(host, settings)
      let failing = 1
      for (; ; failing++) {
        const environment = { CNIKIT_FAIL_STEP: String(failing) }
        const { status, error } = behind(main, network, { environment }).tryAdd()
        if (status === 0) break
        t.match(error, { code: 199, details: /failed in step/ })
        t.notMatch(error?.details, /cannot undo/)
        t.same(changes(), [], `step ${failing}`)
        if (failing > 20) throw new Error('it never succeeds')
      }
      t.ok(failing > 2, `${failing - 1} steps were made to fail`)
      t.not(changes().length, 0, 'without a failure ADD changes something')
    }),
  )

t.test('a failure at any step of another ADD leaves the first as it is', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const before = settingsOf(main)
    const first = behind(main, tuningNetwork(host, keys))
    first.add()
    const changes = watch(host, main.container)
    const other = tuningNetwork(host, { mtu: 1300, txQLen: 7, sysctl: { 'net.core.somaxconn': '600' } })
    for (let failing = 1; ; failing++) {
      const { status } = behind(main, other, { environment: { CNIKIT_FAIL_STEP: String(failing) } }).tryAdd()
      if (status === 0) break
      t.same(changes(), [], `step ${failing}`)
    }
    first.del()
    t.same(settingsOf(main), before)
  }),
)

t.test('a value that the kernel refuses undoes what was changed before', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const changes = watch(host, main.container)
    const refused: readonly (readonly [sysctl: string, value: string])[] = [
      ['net.ipv4.ip_default_ttl', 'many'],
      ['net.ipv4.ip_default_ttl', '256'],
      ['net.ipv4.ip_default_ttl', ''],
      ['net.ipv4.tcp_congestion_control', 'nosuch'],
    ]
    for (const [name, value] of refused) {
      const sysctl = { ...keys.sysctl, [name]: value }
      const { error } = behind(main, tuningNetwork(host, { ...keys, sysctl })).tryAdd()
      t.match(error, { code: 7, msg: `cannot set sysctl ${name.replaceAll('.', '/')} to ${JSON.stringify(value)}` })
      t.same(changes(), [], value)
    }
  }),
)

t.test('20 containers at once, in one directory of backups', t =>
  withHost(t, async host => {
    const mains = await bridged(host).attachAtOnce(20)
    const before = mains.map(settingsOf)
    const network = tuningNetwork(host, { mtu: 1400, txQLen: 7, sysctl: keys.sysctl })
    const tuned = await Promise.all(mains.map(main => behind(main, network).addBeside()))
    t.equal(backups(host).length, 20)
    t.same(
      mains.map(main => [settingsOf(main).mtu, settingsOf(main).hostMtu, sysctlOf(main, 'net/core/somaxconn')]),
      mains.map(() => [1400, 1400, '517']),
    )
    t.same(await network.detachAtOnce(tuned), [])
    t.same(mains.map(settingsOf), before)
    t.same(backups(host), [])
  }),
)
