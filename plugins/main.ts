/**
 * The executable: one file under many names, as busybox is. The name it is called by picks the part that is loaded; a
 * start costs what its plugin needs. The parts are bundled one by one, see scripts/build-executables.ts.
 */

/** ErrorCode.internal: this module loads nothing that could fail. */
const CANNOT_START = 199

/** Runs the part that the executable is called as. */
export async function runPart(parts: Readonly<Record<string, () => Promise<unknown>>>): Promise<void> {
  // process.argv[0] is always "bun"; argv0 is the name as called, through whichever link.
  const name = process.argv0.slice(process.argv0.lastIndexOf('/') + 1)
  const load = parts[name]
  if (load === undefined) {
    console.error(`called as "${name}", but the executable answers to: ${Object.keys(parts).join(', ')}`)
    process.exitCode = 1
    return
  }
  try {
    await load()
  } catch (error) {
    // Not even libc could be loaded; the parts answer for everything after that.
    const msg = `cannot start: ${error instanceof Error ? error.message : String(error)}`
    const details = 'the host may forbid writable and executable memory: use the executables built with koffi'
    console.log(JSON.stringify({ code: CANNOT_START, msg, details }))
    process.exitCode = 1
  }
}
