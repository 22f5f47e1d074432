/** The table of commands as commander's program. */

import { Command as Program } from 'commander'
import { release } from '../lib/release.ts'
import type { Command, CommandGroup, Input, OptionDescription } from './command.ts'

interface Output {
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
}

const EXIT_CODES = `
Exit codes:
  0    done
  1    a plugin, or the work itself, failed; or something is out of order
  2    the command line is wrong; nothing was done
  3    the network's configuration is missing or wrong; nothing was done
  128+ ended by a signal`

const ENVIRONMENT = `
Environment:
  NETCONFPATH  where network configurations are     CNI_PATH    where plugins are
  CNI_IFNAME   interface in the container           CNI_ARGS    arguments of the plugins
  CAP_ARGS     capability arguments (JSON)
  TRACEPARENT and all else is passed on to the plugins.`

/** Runs a command; `title` is how it is called on the command line, "overlay peers". */
export type RunCommand = (command: Command, input: Input, title: string) => Promise<void>

/** commander's program for the commands; `run` is called with the one that the command line names. */
export function buildProgram(commands: readonly (Command | CommandGroup)[], output: Output, run: RunCommand): Program {
  const program = new Program('cnictl')
    .description('Calls CNI plugins as a container runtime does, and shows what they answer.')
    .version(release, '--version', 'show the release of cnikit')
    .configureOutput({ writeOut: output.stdout, writeErr: output.stderr })
    .configureHelp({ helpWidth: 100 })
    .exitOverride()
    .showHelpAfterError('See "cnictl --help".')
    .addHelpText('after', `${ENVIRONMENT}\n${EXIT_CODES}\n\nSee "cnictl <command> --help" for examples.`)
  for (const command of commands) {
    if ('commands' in command) addGroup(program, command, run)
    else addCommand(program, command, command.name, run)
  }
  return program
}

function addGroup(program: Program, group: CommandGroup, run: RunCommand): void {
  const sub = program
    .command(group.name)
    .summary(group.summary)
    .description(group.description)
    .showHelpAfterError(`See "cnictl ${group.name} --help".`)
    .addHelpText('after', `\nSee "cnictl ${group.name} <command> --help" for examples.`)
  for (const command of group.commands) addCommand(sub, command, `${group.name} ${command.name}`, run)
}

function addCommand(program: Program, command: Command, title: string, run: RunCommand): void {
  const sub = program
    .command(command.name)
    .summary(command.summary)
    .description(command.description)
    .showHelpAfterError(`See "cnictl ${title} --help".`)
  for (const { name, description, optional } of command.arguments) {
    sub.argument(optional === true ? `[${name}]` : `<${name}>`, description)
  }
  for (const option of command.options) addOption(sub, option)
  sub.addHelpText('after', examples(command))
  sub.action(async () => run(command, { arguments: sub.processedArgs, options: sub.opts() }, title))
}

function addOption(program: Program, option: OptionDescription): void {
  if (option.repeatable !== true) program.option(option.flags, option.description)
  else program.option(option.flags, option.description, (value, earlier: readonly string[] = []) => [...earlier, value])
}

function examples(command: Command): string {
  const lines = command.examples.flatMap(({ line, does }) => [`  # ${does}`, `  ${line}`])
  return `\nExamples:\n${lines.join('\n')}`
}
