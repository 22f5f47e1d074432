/**
 * Our executables and Debian's Go plugins, side by side in one run; prints a Markdown table.
 *
 * Usage: npm run bench -- [--runs N] [--filter NAME]...     names: start masquerade plain bandwidth macvlan host-device steps host-local cluster-ipam crowd memory overlay overlay-traffic overlayd overlayd-scale mesh podman-chain portmap
 */

import { parseArgs } from 'node:util'
import { type Case, type Row, table } from './case.ts'
import { bandwidth } from './cases/bandwidth.ts'
import { masquerade, memory, plain } from './cases/bridge.ts'
import { clusterIpam } from './cases/cluster-ipam.ts'
import { crowd } from './cases/crowd.ts'
import { hostDevice } from './cases/host-device.ts'
import { hostLocal } from './cases/host-local.ts'
import { macvlan } from './cases/macvlan.ts'
import { mesh } from './cases/mesh.ts'
import { overlay, overlayTraffic } from './cases/overlay.ts'
import { overlayd } from './cases/overlayd.ts'
import { overlaydScale } from './cases/overlayd-scale.ts'
import { podmanChain } from './cases/podman-chain.ts'
import { portmap } from './cases/portmap.ts'
import { start } from './cases/start.ts'
import { stepByStep } from './cases/steps.ts'
import { Contender } from './contender.ts'
import { machineLine } from './machine.ts'

const cases: readonly Case[] = [
  start,
  masquerade,
  plain,
  bandwidth,
  macvlan,
  hostDevice,
  stepByStep,
  hostLocal,
  clusterIpam,
  crowd,
  memory,
  overlay,
  overlayTraffic,
  overlayd,
  overlaydScale,
  mesh,
  podmanChain,
  portmap,
]
const { values } = parseArgs({
  options: { runs: { type: 'string', default: '30' }, filter: { type: 'string', multiple: true, default: [] } },
})
const runs = Number(values.runs)
if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs ${values.runs}: a whole number from 1 is wanted`)
const unknown = values.filter.filter(name => !cases.some(one => one.name === name))
if (unknown.length > 0)
  throw new Error(`--filter ${unknown.join(', ')}: there is ${cases.map(one => one.name).join(', ')}`)

const contenders = { go: new Contender('go'), ours: new Contender('ours') }
const rows: Row[] = []
try {
  for (const one of cases) {
    if (values.filter.length > 0 && !values.filter.includes(one.name)) continue
    console.error(`measuring: ${one.name}`)
    rows.push(...(await one.run(contenders, runs)))
  }
} finally {
  contenders.go.host.remove()
  contenders.ours.host.remove()
}
console.log(`${table(rows)}\n\n${machineLine(runs)}`)
