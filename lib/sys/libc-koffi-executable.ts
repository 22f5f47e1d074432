/**
 * libc in an executable compiled with `--conditions=koffi`, for hosts that forbid memory which is writable and executable:
 * bun:ffi compiles a function for each call. koffi's native part is the file koffi.node beside the executable: embedded,
 * it would be unpacked into /tmp, and "import koffi" would look for it in the working directory.
 */

import { bindLibc, type Koffi } from './koffi-functions.ts'

export { host } from './host-bun.ts'

const directory = process.execPath.slice(0, process.execPath.lastIndexOf('/'))
const native: { exports: unknown } = { exports: {} }
process.dlopen(native, `${directory}/koffi.node`)

export const libc = bindLibc(native.exports as Koffi)
