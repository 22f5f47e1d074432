/** cnictl in this process, with scripted plugins and everything it writes collected. */

import type { Test } from 'tap'
import { main } from '../../../cnictl/main.ts'
import type { FakePlugins } from '../runtime/fake-plugins.ts'
import { fakePlugins, writeFiles } from '../runtime/fake-plugins.ts'

export interface Run {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface Cnictl extends FakePlugins {
  /** Runs a command line, with the cache directory of the test added. */
  run(...argv: string[]): Promise<Run>
  /** The environment of the next runs. */
  readonly environment: Record<string, string>
}

/** The namespace of the test itself: CNI_NETNS_OVERRIDE allows it, so that no test here needs a privilege. */
export const ownNamespace = '/proc/self/ns/net'

/** A network "demo" of bridge and portmap, with directories of its own. */
export function cnictl(t: Test, network: Record<string, unknown> = {}): Cnictl {
  const fakes = fakePlugins(t)
  const plugins = [
    { type: 'bridge', capabilities: { ips: true } },
    { type: 'portmap', capabilities: { portMappings: true } },
  ]
  writeFiles(fakes.config, { 'demo.conflist': { cniVersion: '1.1.0', name: 'demo', plugins, ...network } })
  const environment: Record<string, string> = {
    PATH: '/usr/bin:/bin',
    NETCONFPATH: fakes.config,
    CNI_PATH: fakes.bin,
    CNI_NETNS_OVERRIDE: '1',
  }
  const run = async (...argv: string[]): Promise<Run> => {
    const output = { stdout: '', stderr: '' }
    const withCache = argv.includes('--help') || argv.length < 2 ? argv : [...argv, '--cache-dir', fakes.cache]
    const code = await main(withCache, {
      environment,
      workingDirectory: () => fakes.root,
      stdout: text => {
        output.stdout += text
      },
      stderr: text => {
        output.stderr += text
      },
    })
    return { code, ...output }
  }
  return { ...fakes, environment, run }
}
