/**
 * A virtual machine with a second kernel on the host's file system: root there, with everything it writes in memory.
 * Emulated, since machines that run tests are mostly virtual themselves; KVM is used where the processor has it.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { Living } from '../../test/harness/living.ts'

/** Where scripts/vm/prepare.sh puts the kernel. */
const images = 'dist/vm'
const memory = '2G'
/** Emulated, it takes 3 to 7 seconds on an idle machine. */
const bootSeconds = { emulated: 120, kvm: 30 } as const

/**
 * What makes an emulated kernel faster and changes nothing that tests look at. Addresses at random are what costs most:
 * the emulator translates the code of every process again when it lies elsewhere.
 */
const fastKernel = [
  'norandmaps nokaslr randomize_kstack_offset=off mitigations=off init_on_alloc=0 audit=0',
  'tsc=reliable clocksource=tsc rcupdate.rcu_expedited=1',
].join(' ')

/** Debian 12 ships it with qemu, later releases in a package of its own. */
const virtiofsd = ['/usr/libexec/virtiofsd', '/usr/lib/qemu/virtiofsd']

/** /dev/kvm alone says little: there are kinds of it that run no ordinary kernel. */
function hasKvm(): boolean {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK)
    return /^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'))
  } catch {
    return false
  }
}

/** Starts a program that the kernel ends when this process is gone, however that came. */
function startBound(argv: readonly string[], stdio: ('ignore' | 'pipe')[]): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'KILL', ...argv], { stdio })
}

/** Keeps the last of what a program says, for the message when it fails. */
function lastWords(stream: NodeJS.ReadableStream | null | undefined): () => string {
  let text = ''
  stream?.on('data', (data: Buffer) => {
    text = (text + data.toString('latin1')).slice(-4000)
  })
  return () => text.replace(/[^\n\x20-\x7e]/g, '')
}

/** Those that run, so that they end with this process in good order; startBound() is for when it is killed. */
const living = new Living<Guest>(guest => guest.end())

let useKvm = hasKvm()

export class Guest {
  /** As `uname -r` says it in the guest. */
  kernel = ''
  readonly #accelerator: 'kvm' | 'emulated'
  readonly #directory = mkdtempSync(join(tmpdir(), `cnikit-guest-${process.pid}-`))
  readonly #share: ChildProcess
  #machine: ChildProcess | undefined
  #lines: AsyncIterator<string> | undefined
  #console: () => string = () => ''
  readonly #shareSays: () => string

  private constructor(accelerator: 'kvm' | 'emulated') {
    this.#accelerator = accelerator
    const program = virtiofsd.find(path => existsSync(path)) ?? 'virtiofsd'
    const options = ['-o', 'source=/', '-o', 'sandbox=chroot', '-o', 'cache=always']
    living.add(this)
    this.#share = startBound([program, `--socket-path=${this.#socket}`, ...options], ['ignore', 'ignore', 'pipe'])
    this.#shareSays = lastWords(this.#share.stderr)
  }

  /** Starts a guest; rejects with the console's last lines when it does not come up. */
  static async boot(): Promise<Guest> {
    if (useKvm) {
      try {
        return await Guest.#start('kvm')
      } catch (error) {
        console.error(`KVM does not run the guest, so it is emulated: ${error}`)
        useKvm = false
      }
    }
    return await Guest.#start('emulated')
  }

  static async #start(accelerator: 'kvm' | 'emulated'): Promise<Guest> {
    const guest = new Guest(accelerator)
    try {
      await guest.#boot()
      return guest
    } catch (error) {
      guest.end()
      throw error
    }
  }

  get #socket(): string {
    return join(this.#directory, 'share')
  }

  async #boot(): Promise<void> {
    this.#share.on('error', () => {})
    for (let waited = 0; !existsSync(this.#socket); waited += 20) {
      if (this.#share.exitCode !== null || waited > 10_000) throw new Error(`virtiofsd failed: ${this.#shareSays()}`)
      await delay(20)
    }
    const machine = startBound(this.#command(), ['pipe', 'pipe', 'pipe', 'pipe'])
    this.#machine = machine
    machine.on('error', () => {})
    machine.stdin?.on('error', () => {})
    const [, stdout, stderr, console] = machine.stdio
    const emulatorSays = lastWords(stderr as NodeJS.ReadableStream)
    const consoleSays = lastWords(console as NodeJS.ReadableStream)
    this.#console = () => emulatorSays() + consoleSays()
    const lines: Interface = createInterface({ input: stdout as NodeJS.ReadableStream })
    this.#lines = lines[Symbol.asyncIterator]()
    const late = setTimeout(() => this.end(), bootSeconds[this.#accelerator] * 1000)
    const [, kernel] = /^guest: ready, Linux (.*)$/.exec((await this.#line()) ?? '') ?? []
    clearTimeout(late)
    // The socket has done its work; the directory need not outlive an interruption.
    rmSync(this.#directory, { recursive: true, force: true })
    if (kernel === undefined) throw new Error(`the guest did not start:\n${this.#console()}`)
    this.kernel = kernel
  }

  #command(): string[] {
    const kernel = join(images, 'kernel/boot')
    const image = readdirSync(kernel).find(name => name.startsWith('vmlinuz-')) ?? 'vmlinuz'
    const emulated = this.#accelerator === 'emulated'
    const environment = `CHECKOUT="${process.cwd()}" NODE="${process.execPath}"${emulated ? ' CNIKIT_EMULATED=1' : ''}`
    return [
      ['qemu-system-x86_64', '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-nic', 'none'],
      emulated ? ['-accel', 'tcg,thread=single,tb-size=1024', '-cpu', 'max'] : ['-accel', 'kvm', '-cpu', 'host'],
      ['-smp', '1', '-m', memory, '-object', `memory-backend-memfd,id=memory,size=${memory},share=on`],
      ['-numa', 'node,memdev=memory', '-chardev', `socket,id=share,path=${this.#socket}`],
      ['-device', 'vhost-user-fs-pci,chardev=share,tag=host,queue-size=1024'],
      ['-chardev', 'stdio,id=tests,signal=off', '-device', 'virtio-serial-pci'],
      ['-device', 'virtserialport,chardev=tests,name=tests'],
      ['-chardev', 'socket,id=console,fd=3', '-serial', 'chardev:console'],
      // Two network cards on one wire, for host-device; their driver is loaded by the test that wants them.
      ...['01', '02'].map(id => [
        ...['-netdev', `hubport,id=wire${id},hubid=0`],
        ...['-device', `virtio-net-pci,netdev=wire${id},mac=52:54:00:00:01:${id}`],
      ]),
      ['-kernel', join(kernel, image), '-initrd', join(images, 'initramfs')],
      ['-append', `console=ttyS0 quiet panic=-1 ${emulated ? fastKernel : ''} ${environment}`],
    ].flat()
  }

  async #line(): Promise<string | undefined> {
    const next = await this.#lines?.next()
    return next?.done === true ? undefined : next?.value
  }

  /** Runs a compiled test and gives each line that it prints; returns its exit status. Throws when the guest dies. */
  async *run(path: string, seconds: number): AsyncGenerator<string, number> {
    this.#machine?.stdin?.write(`${path} ${seconds}\n`)
    const end = `guest: ${path} ended with status `
    // The guest ends a file that takes too long; this is for a kernel that hangs.
    const hung = setTimeout(() => this.end(), (seconds + 60) * 1000)
    try {
      for (;;) {
        const line = await this.#line()
        if (line === undefined) throw new Error(`the guest ended while it ran ${path}:\n${this.#console()}`)
        const at = line.indexOf(end)
        if (at > 0) yield line.slice(0, at)
        if (at >= 0) return Number(line.slice(at + end.length))
        yield line
      }
    } finally {
      clearTimeout(hung)
    }
  }

  /** Ends it at once; everything in it was in memory. Its file server goes when it goes, or here when it never came. */
  end(): void {
    this.#machine?.kill('SIGKILL')
    this.#share.kill('SIGTERM')
    rmSync(this.#directory, { recursive: true, force: true })
    living.delete(this)
  }
}
