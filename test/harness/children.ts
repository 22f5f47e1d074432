/** Programs that run beside a test: each with standard streams of its own, and ended by its id. */

import { type ChildProcess, spawn } from 'node:child_process'
import type { Outcome } from './execute.ts'
import { programPath } from './execute.ts'

export interface ChildOptions {
  readonly input?: string
  /** Everything that the program gets. Default: PATH alone. */
  readonly environment?: Readonly<Record<string, string>>
  readonly cwd?: string
}

export class Child {
  readonly pid: number
  /** Resolves when the program has ended and its streams are closed. Never rejects. */
  readonly ended: Promise<Outcome>
  readonly #process: ChildProcess
  #stdout = ''
  #stderr = ''
  #running = true
  #look: () => void = () => {}

  constructor(argv: readonly string[], options: ChildOptions = {}) {
    const [program = '', ...rest] = argv
    const child = spawn(program, rest, {
      env: { ...(options.environment ?? { PATH: programPath }) },
      cwd: options.cwd,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    if (child.pid === undefined) throw new Error(`Cannot start "${argv.join(' ')}"`)
    this.pid = child.pid
    this.#process = child
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text
      this.#look()
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
      this.#look()
    })
    child.stdin.on('error', () => {}) // the program may end without having read its input
    child.stdin.end(options.input ?? '')
    this.ended = new Promise(resolve => {
      child.on('exit', () => {
        this.#running = false
      })
      child.on('close', (status, signal) => {
        this.#look()
        resolve({
          status: status ?? undefined,
          signal: signal ?? undefined,
          stdout: this.#stdout,
          stderr: this.#stderr,
        })
      })
    })
  }

  get running(): boolean {
    return this.#running
  }

  /** What it has said so far, on both streams. */
  get said(): string {
    return this.#stdout + this.#stderr
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#running) this.#process.kill(signal)
  }

  /** Waits until the program has said something. Rejects when it ends without it. */
  async says(pattern: RegExp): Promise<void> {
    const heard = new Promise<void>(resolve => {
      this.#look = () => {
        if (pattern.test(this.said)) resolve()
      }
    })
    this.#look()
    await Promise.race([
      heard,
      this.ended.then(() => {
        if (!pattern.test(this.said)) throw new Error(`Ended without saying ${pattern}: ${this.said}`)
      }),
    ])
  }

  /** Ends the program, SIGKILL after ten seconds, and waits until it is gone. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Outcome> {
    this.signal(signal)
    const impatience = setTimeout(() => this.signal('SIGKILL'), 10_000)
    const outcome = await this.ended
    clearTimeout(impatience)
    return outcome
  }
}
