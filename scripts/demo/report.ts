/** What the demo prints: headings, commands with their output, and claims that held or did not. */

const tty = process.stdout.isTTY && process.env.NO_COLOR === undefined
const paint = (code: number, text: string): string => (tty ? `\u001b[${code}m${text}\u001b[0m` : text)

let failures = 0

export function heading(text: string): void {
  console.log(`\n${paint(1, text)}`)
}

/** A block of text, indented. */
export function show(text: string): void {
  console.log(text.trimEnd().replace(/^(?=.)/gm, '  '))
}

/** A command line as one would type it, and what it printed. */
export function showCommand(command: string, output: string): void {
  console.log(`\n  ${paint(36, `$ ${command}`)}`)
  show(output)
}

/** Says whether something held; what does not hold makes the demo fail. */
export function claim(held: boolean, text: string, instead = ''): void {
  if (!held) failures++
  console.log(`  ${held ? paint(32, '✓') : paint(31, '✗')} ${text}${held || instead === '' ? '' : `: ${instead}`}`)
}

/** The last line, and the exit status. */
export function conclude(): void {
  console.log(failures === 0 ? '\nEverything held.' : `\n${failures} did not hold.`)
  process.exitCode = failures === 0 ? 0 : 1
}
