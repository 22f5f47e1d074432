/** The network of a container that a runtime has made, entered by one of its processes. */

import { type Outcome, type Place, peerProgram } from '../harness/index.ts'
import type { Machine } from '../harness/machine.ts'

/** The network namespace of a process on a machine. */
export class ContainerNetwork implements Place {
  readonly #machine: Machine
  readonly #enter: readonly string[]

  /** @param pid as the machine numbers it */
  constructor(machine: Machine, pid: number) {
    this.#machine = machine
    this.#enter = ['nsenter', '--net', `--target=${pid}`]
  }

  execute(argv: readonly string[]): Outcome {
    return this.#machine.execute([...this.#enter, ...argv])
  }

  /** Serves TCP and UDP on a port, and tells every client the address that it sees. Ends with the machine. */
  async serve(port: number): Promise<void> {
    const server = this.#machine.start([...this.#enter, process.execPath, peerProgram, String(port)])
    await server.says(/listening/)
  }
}
