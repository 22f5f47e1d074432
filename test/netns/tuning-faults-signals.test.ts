/** tuning's ADD that is killed, or told to stop. */

import t, { type Test } from 'tap'
import { type Attachment, type Host, interruptedAdd, withHost } from '../harness/index.ts'
import { backups, behind, bridged, settingsOf, sysctlOf, tuningNetwork } from './tuning-fixture.ts'

const sysctls: Readonly<Record<string, string>> = { 'net/core/somaxconn': '517', 'net/ipv4/conf/eth0/arp_filter': '1' }
const keys = { mac: '02:00:00:00:77:01', mtu: 1400, promisc: true, allmulti: true, txQLen: 500, sysctl: sysctls }

/** All that the configuration above changes. */
function state(host: Host, main: Attachment) {
  const values = Object.keys(sysctls).map(name => sysctlOf(main, name))
  return { ...settingsOf(main), values, backups: backups(host) }
}

/** How long an ADD takes here and now; the first may read the executable from the disk. */
function durationOf(main: Attachment, host: Host): number {
  let shortest = Number.POSITIVE_INFINITY
  for (let run = 0; run < 3; run++) {
    const tuned = behind(main, tuningNetwork(host, keys))
    const start = performance.now()
    tuned.add()
    shortest = Math.min(shortest, performance.now() - start)
    tuned.del()
  }
  return shortest
}

async function interrupt(t: Test, host: Host, signals: readonly NodeJS.Signals[], runs: number): Promise<void> {
  const main = bridged(host).attach()
  const before = state(host, main)
  const duration = durationOf(main, host)
  // Sysctls stay after DEL, as in Go: they end with the namespace.
  const reset = () =>
    main.container.output([
      'sysctl',
      '-qw',
      ...Object.keys(sysctls).map((name, index) => `${name}=${before.values[index]}`),
    ])
  reset()
  let interrupted = 0
  for (let run = 0; run < runs; run++) {
    const tuned = behind(main, tuningNetwork(host, keys))
    const signal = signals[run % signals.length] ?? 'SIGKILL'
    const { status, stdout } = await interruptedAdd(tuned, signal, duration)
    if (status === 0) t.equal(tuned.check().stdout, '', `run ${run}: complete`)
    else {
      interrupted++
      // A kill may also come between the answer and the end.
      if (signal !== 'SIGKILL' && stdout !== '') t.match(stdout, /"code": 107/)
      if (signal !== 'SIGKILL') t.same(state(host, main), before, `run ${run}: undone`)
    }
    tuned.del()
    reset()
    t.same(state(host, main), before, `run ${run}: after DEL`)
  }
  t.comment(`${interrupted} of ${runs} interrupted`)
  t.ok(interrupted > 0)
}

t.test('kill -9 at random moments of ADD, followed by DEL, leaves nothing', t =>
  withHost(t, host => interrupt(t, host, ['SIGKILL'], 15)),
)

t.test('SIGTERM, SIGINT or SIGHUP at random moments: either a complete ADD or nothing', t =>
  withHost(t, host => interrupt(t, host, ['SIGTERM', 'SIGINT', 'SIGHUP'], 15)),
)
