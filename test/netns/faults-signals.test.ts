/** ADD that is told to stop, or killed, at any moment. */

import t, { type Test } from 'tap'
import {
  type Attachment,
  assertUndoneBySignals,
  differences,
  durationOfAdd,
  type Host,
  hostLocal,
  interruptedAdd,
  leftByKilledAdds,
  Network,
  repetitions,
  snapshot,
  subnets,
  withHost,
} from '../harness/index.ts'

const dualStack = (host: Host) => hostLocal(host, subnets.ipv4, subnets.ipv6)

/** Runs `use` once for each number below `count`, on as many containers as may be busy at the same time. */
async function onContainers(
  host: Host,
  count: number,
  use: (container: Attachment['container'], run: number) => Promise<void>,
) {
  let next = 0
  const work = async (container: Attachment['container']) => {
    for (let run = next++; run < count; run = next++) await use(container, run)
  }
  await Promise.all(host.createContainers(4).map(work))
}

async function mustEnd(t: Test, child: ReturnType<Network['start']>, claim: string) {
  const outcome = await child.ended
  if (outcome.status !== 0) t.fail(`${claim}: ${outcome.stdout}${outcome.stderr}`)
}

for (const ipMasqBackend of ['nftables', 'iptables'] as const) {
  const runs = repetitions(ipMasqBackend === 'nftables' ? 200 : 40)
  t.test(`kill -9 at random moments of ${runs} ADDs, each followed by DEL, leaves nothing (${ipMasqBackend})`, t =>
    withHost(t, async host => {
      const network = new Network(host, { ipMasq: true, ipMasqBackend, macspoofchk: true, ipam: dualStack(host) })
      network.attach().del()
      const duration = durationOfAdd(network)
      const before = snapshot(host)
      let killed = 0
      await onContainers(host, runs, async (container, run) => {
        const attachment = network.attachment({ container, containerId: `killed-${run}` })
        const { signal } = await interruptedAdd(attachment, 'SIGKILL', 2.5 * duration)
        if (signal === 'SIGKILL') killed++
        await mustEnd(t, network.start(attachment.request('DEL')), 'DEL')
        const [link = 'lo'] = container.links().filter(name => name !== 'lo')
        if (link !== 'lo') t.fail(`run ${run} left "${link}" in the container`)
      })
      t.comment(`${killed} of ${runs} were killed before their end`)
      t.ok(killed > 0)
      t.same(leftByKilledAdds(network, before), [], 'the host is as it was')
    }),
  )
}

t.test('kill -9 of ADDs and no DEL: GC removes what they left, and the addresses are free again', t =>
  withHost(t, async host => {
    const ranges = [[{ subnet: '10.88.0.0/24', rangeStart: '10.88.0.10', rangeEnd: '10.88.0.29' }]]
    const network = new Network(host, { ipMasq: true, ipam: { ...hostLocal(host), ranges } })
    const duration = durationOfAdd(network)
    const before = snapshot(host)
    await Promise.all(
      host
        .createContainers(12)
        .map(container => interruptedAdd(network.attachment({ container }), 'SIGKILL', 4 * duration)),
    )
    network.gc([])
    const made = await network.attachAtOnce(20)
    t.equal(new Set(made.map(({ address }) => address)).size, 20)
    network.gc([])
    t.same(differences(before, snapshot(host), ['nftables', 'iptables']), [])
  }),
)

t.test('SIGTERM, SIGINT or SIGHUP at random moments: either a complete ADD or nothing', t =>
  withHost(t, async host => {
    const network = new Network(host, { ipMasq: true, ipam: dualStack(host) })
    network.attach().del()
    await assertUndoneBySignals(t, network, repetitions(30))
  }),
)
