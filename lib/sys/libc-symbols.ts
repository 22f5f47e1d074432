/**
 * The libc functions that the project calls, as data: both bindings and the TypeScript type are derived from this table.
 * Signatures are those of the Linux man pages; variadic functions (open, ioctl) are given the fixed form that is used.
 */

type Kind = 'i32' | 'u32' | 'i64' | 'usize' | 'ptr'
type Signature = readonly [result: 'i32' | 'i64', ...parameters: Kind[]]

export const libcSymbols = {
  open: ['i32', 'ptr', 'i32', 'u32'],
  close: ['i32', 'i32'],
  read: ['i64', 'i32', 'ptr', 'usize'],
  write: ['i64', 'i32', 'ptr', 'usize'],
  pread: ['i64', 'i32', 'ptr', 'usize', 'i64'],
  pwrite: ['i64', 'i32', 'ptr', 'usize', 'i64'],
  ftruncate: ['i32', 'i32', 'i64'],
  statx: ['i32', 'i32', 'ptr', 'i32', 'u32', 'ptr'],
  fstatfs: ['i32', 'i32', 'ptr'],
  unlink: ['i32', 'ptr'],
  rename: ['i32', 'ptr', 'ptr'],
  mkdir: ['i32', 'ptr', 'u32'],
  rmdir: ['i32', 'ptr'],
  getdents64: ['i64', 'i32', 'ptr', 'usize'],
  readlink: ['i64', 'ptr', 'ptr', 'usize'],
  utimensat: ['i32', 'i32', 'ptr', 'ptr', 'i32'],
  futimens: ['i32', 'i32', 'ptr'],
  flock: ['i32', 'i32', 'i32'],
  usleep: ['i32', 'u32'],
  clock_gettime: ['i32', 'i32', 'ptr'],
  getpid: ['i32'],
  getrandom: ['i64', 'ptr', 'usize', 'u32'],
  _exit: ['i32', 'i32'],
  sigprocmask: ['i32', 'i32', 'ptr', 'ptr'],
  sigpending: ['i32', 'ptr'],
  signal: ['i64', 'i32', 'i64'],
  setns: ['i32', 'i32', 'i32'],
  unshare: ['i32', 'i32'],
  mount: ['i32', 'ptr', 'ptr', 'ptr', 'i64', 'ptr'],
  umount2: ['i32', 'ptr', 'i32'],
  socket: ['i32', 'i32', 'i32', 'i32'],
  bind: ['i32', 'i32', 'ptr', 'u32'],
  connect: ['i32', 'i32', 'ptr', 'u32'],
  send: ['i64', 'i32', 'ptr', 'usize', 'i32'],
  recv: ['i64', 'i32', 'ptr', 'usize', 'i32'],
  getsockopt: ['i32', 'i32', 'i32', 'i32', 'ptr', 'ptr'],
  setsockopt: ['i32', 'i32', 'i32', 'i32', 'ptr', 'u32'],
  ioctl: ['i32', 'i32', 'i64', 'ptr'],
} as const satisfies Record<string, Signature>

type Argument<K> = K extends 'ptr' ? Uint8Array | null : number
type Arguments<T extends readonly unknown[]> = { -readonly [I in keyof T]: Argument<T[I]> }
type Parameters_<S extends readonly unknown[]> = S extends readonly [unknown, ...infer P] ? Arguments<P> : never

/**
 * libc as both bindings offer it. A result below zero means failure, and `errno()` then tells why; it must be the next
 * call. Pointers are typed arrays made by `allocate` (never a small `new Uint8Array(n)`, whose bytes may move).
 */
export type Libc = {
  readonly [K in keyof typeof libcSymbols]: (...parameters: Parameters_<(typeof libcSymbols)[K]>) => number
} & {
  /** The calling thread's errno after a failed call. */
  readonly errno: () => number
}

/** What a JavaScript runtime, and not libc, is asked for. */
export interface Host {
  /** The lower-case hexadecimal SHA-512 of a UTF-8 text. */
  sha512(text: string): string
  /**
   * Runs a program to its end with the given environment and standard input.
   * Standard error is passed through unless `captureStderr` is set.
   * @throws Error when the program cannot be started; `code` is then the errno name ("ENOENT").
   */
  spawnSync(path: string, options: SpawnOptions): SpawnResult
}

export interface SpawnOptions {
  readonly arguments?: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly input?: string
  readonly captureStderr?: boolean
}

export interface SpawnResult {
  /** The exit status, or 128 plus the signal's number. */
  readonly status: number
  readonly stdout: string
  /** Empty unless captured. */
  readonly stderr: string
}
