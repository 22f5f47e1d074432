/** Plugins whose answers a test scripts, and which record what they were given. */

import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Runtime } from '../../../lib/runtime/index.ts'
import { createRuntime } from '../../../lib/runtime/index.ts'

export interface RecordedCall {
  readonly plugin: string
  readonly command: string
  readonly environment: Readonly<Record<string, string>>
  readonly input: Record<string, unknown>
}

export interface FakePlugins {
  readonly root: string
  /** The plugin directory. */
  readonly bin: string
  /** The configuration directory. */
  readonly config: string
  readonly cache: string
  readonly warnings: string[]
  readonly runtime: Runtime
  /** Makes a plugin answer a command: a piece of shell. Without one, ADD prints a result and the others nothing. */
  answer(plugin: string, command: string, shell: string): void
  /** What was called, in order. */
  calls(): RecordedCall[]
  /** "bridge ADD", in order. */
  order(): string[]
}

/** The result that a plugin without a scripted answer gives: that of 1.1.0, with its own name as the interface. */
export function defaultResult(plugin: string) {
  return { cniVersion: '1.1.0', interfaces: [{ name: plugin }] }
}

export function fakePlugins(t: Test, names: readonly string[] = ['bridge', 'portmap', 'tuning']): FakePlugins {
  const root = t.testdir({ bin: {}, config: {}, cache: {}, calls: {}, answers: {} })
  const path = (...parts: string[]) => join(root, ...parts)
  for (const name of names) {
    const script = `#!/bin/sh
record='${path('calls')}/${name}.'$$
env > "$record.env"
cat > "$record.stdin"
echo "${name} $CNI_COMMAND $record" >> '${path('order')}'
answer='${path('answers')}/${name}.'$CNI_COMMAND
if [ -f "$answer" ]; then . "$answer"
elif [ "$CNI_COMMAND" = ADD ]; then echo '${JSON.stringify(defaultResult(name))}'
fi
`
    writeFileSync(path('bin', name), script)
    chmodSync(path('bin', name), 0o755)
  }
  const warnings: string[] = []
  const lines = () => (existsSync(path('order')) ? readFileSync(path('order'), 'utf8').trim().split('\n') : [])
  return {
    root,
    bin: path('bin'),
    config: path('config'),
    cache: path('cache'),
    warnings,
    runtime: createRuntime({
      path: [path('bin')],
      cacheDirectory: path('cache'),
      environment: { PATH: '/usr/bin:/bin', TRACEPARENT: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
      warn: message => warnings.push(message),
    }),
    answer: (plugin, command, shell) => writeFileSync(path('answers', `${plugin}.${command}`), `${shell}\n`),
    order: () => lines().map(line => line.split(' ').slice(0, 2).join(' ')),
    calls: () =>
      lines().map(line => {
        const [plugin = '', command = '', record = ''] = line.split(' ')
        const environment = readFileSync(`${record}.env`, 'utf8').trim().split('\n')
        const input = readFileSync(`${record}.stdin`, 'utf8')
        return {
          plugin,
          command,
          environment: Object.fromEntries(
            environment.map(text => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]),
          ),
          input: JSON.parse(input) as Record<string, unknown>,
        }
      }),
  }
}

/** Makes directories and files below one: texts as they are, anything else as JSON. */
export function writeFiles(directory: string, files: Readonly<Record<string, unknown>>): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory, name)
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  }
}
