/** Sysctls of the network namespace that the calling thread is in: `net/ipv4/ip_forward` is a file below /proc/sys. */

import { encodeText } from '../sys/bytes.ts'
import { Errno, SysError } from '../sys/errno.ts'
import { O, open, readFile, readFileIfExists, withDescriptor, writeAll } from '../sys/file.ts'

const pathOf = (name: string) => `/proc/sys/${name}`

/** The value without the final newline. @throws SysError */
export function readSysctl(name: string): string {
  return readFile(pathOf(name)).trimEnd()
}

/** Undefined where the kernel does not have it, as all of net/ipv6 when IPv6 is off. */
export function readSysctlIfExists(name: string): string | undefined {
  return readFileIfExists(pathOf(name))?.trimEnd()
}

/** @throws SysError */
export function writeSysctl(name: string, value: string): void {
  withDescriptor(open(pathOf(name), O.WRONLY), fd => writeAll(fd, encodeText(value)))
}

/** Writes it where the kernel has it and lets it be written. */
export function writeSysctlIfExists(name: string, value: string): void {
  try {
    writeSysctl(name, value)
  } catch (error) {
    const missing = error instanceof SysError && (error.errno === Errno.ENOENT || error.errno === Errno.EROFS)
    if (!missing) throw error
  }
}
