import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { Command } from '../../../cnictl/command.ts'
import { commands } from '../../../cnictl/commands.ts'
import { release } from '../../../lib/release.ts'
import { cnictl } from './run-cnictl.ts'

t.test('--help lists every command, the environment and the exit codes', async t => {
  const { code, stdout, stderr } = await cnictl(t).run('--help')
  t.equal(code, 0)
  t.equal(stderr, '')
  for (const { name, summary } of commands) t.match(stdout, new RegExp(`^ +${name} .*${summary}$`, 'm'))
  t.match(stdout, /Exit codes:\n {2}0 {4}done\n/)
  t.match(stdout, /TRACEPARENT/)
})

t.test('every command has help with its options and at least one example', async t => {
  for (const command of commands) {
    if ('commands' in command) {
      const { code, stdout } = await cnictl(t).run(command.name, '--help')
      t.equal(code, 0, command.name)
      for (const { name, summary } of command.commands)
        t.match(stdout, new RegExp(`^ +${name} .*${summary.slice(0, 30)}`, 'm'))
      for (const one of command.commands) await hasHelp(t, one, [command.name, one.name])
    } else await hasHelp(t, command, [command.name])
  }
})

async function hasHelp(t: Test, command: Command, words: string[]): Promise<void> {
  const title = words.join(' ')
  const { code, stdout } = await cnictl(t).run(...words, '--help')
  t.equal(code, 0, title)
  const [first] = command.arguments
  const usage = first === undefined ? '' : first.optional === true ? ` \\[${first.name}\\]` : ` <${first.name}>`
  t.match(stdout, new RegExp(`^Usage: cnictl ${title} \\[options\\]${usage}`), title)
  for (const { flags } of command.options) t.ok(stdout.includes(flags), `${title} ${flags}`)
  t.ok(command.examples.length > 0)
  for (const { line } of command.examples) t.ok(stdout.includes(line), line)
}

t.test('a wrong command line is refused with exit code 2, and with where to look', async t => {
  const cases: [string[], RegExp][] = [
    [['ad', 'demo', 'blue'], /unknown command 'ad'\n\(Did you mean add\?\)/],
    [['add', 'demo'], /missing required argument 'namespace'/],
    [['add', 'demo', 'blue', 'more'], /too many arguments/],
    [['add', 'demo', 'blue', '--ifnam', 'x'], /unknown option '--ifnam'\n\(Did you mean --ifname\?\)/],
    [['status'], /missing required argument 'network'/],
  ]
  for (const [argv, message] of cases) {
    const { code, stdout, stderr } = await cnictl(t).run(...argv)
    t.equal(code, 2, argv.join(' '))
    t.equal(stdout, '')
    t.match(stderr, message)
    t.match(stderr, /See "cnictl.* --help"\./)
  }
})

t.test('with --json also a wrong command line is one document on standard output', async t => {
  const { code, stdout, stderr } = await cnictl(t).run('add', 'demo', '--json')
  t.equal(code, 2)
  t.equal(stderr, '')
  t.match(JSON.parse(stdout), { code: 4, msg: "missing required argument 'namespace'" })
})

t.test('without a command the help is shown, and that is wrong', async t => {
  const { code, stderr } = await cnictl(t).run()
  t.equal(code, 2)
  t.match(stderr, /Usage: cnictl/)
})

t.test("--version is the package's", async t => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
  t.equal(release, version)
  t.same(await cnictl(t).run('--version'), { code: 0, stdout: `${version}\n`, stderr: '' })
})
