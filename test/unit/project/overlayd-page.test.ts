/** docs/overlayd.md names everything that an operator can set or read. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { OverlayMetrics } from '../../../overlayd/metrics.ts'
import { readCommandLine } from '../../../overlayd/settings.ts'
import { repositoryRoot } from '../../harness/paths.ts'

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>
}

const read = (path: string): string => readFileSync(join(repositoryRoot, path), 'utf8')
const page = read('docs/overlayd.md')
const named = (what: string): boolean => page.includes(`\`${what}\``)

/** Keys of settings, those inside objects with a point. */
function keysOf({ properties = {} }: Schema, above = ''): string[] {
  return Object.entries(properties).flatMap(([key, schema]) =>
    schema.properties === undefined ? [above + key] : keysOf(schema, `${above}${key}.`),
  )
}

t.test('the page has every key of the settings', t => {
  const keys = keysOf(JSON.parse(read('overlayd/schema.json')) as Schema)
  t.ok(keys.includes('etcd.endpoints'), 'keys are found')
  t.same(
    keys.filter(key => !named(key)),
    [],
  )
  t.end()
})

t.test('the page has every flag', t => {
  const help = readCommandLine(['--help'], '0.0.0')
  const flags: readonly string[] = ('output' in help && help.output.match(/--[a-z-]+/g)) || []
  t.ok(flags.includes('--etcd-endpoints'), 'flags are found')
  const own = flags.filter(flag => flag !== '--help' && flag !== '--version')
  t.same(
    own.filter(flag => !named(flag)),
    [],
  )
  t.end()
})

t.test('the page has every metric', async t => {
  const metrics = await new OverlayMetrics().registry.getMetricsAsJSON()
  t.ok(metrics.length > 5, 'metrics are found')
  const names = metrics.map(({ name }) => name.replace(/^cnikit_overlayd_/, ''))
  t.same(
    names.filter(name => !named(name)),
    [],
  )
})
