/**
 * What lib/sys promises, checked by a program that runs under every binding: see contract.test.ts.
 * Argument: a directory for its files. It prints what has become of each claim as JSON.
 */

import { libc } from '#libc'
import { writeAll } from '../../../lib/sys/file.ts'
import { report } from './claim.ts'
import { checkBuffers } from './contract-buffers.ts'
import { checkCalls } from './contract-calls.ts'
import { checkFiles } from './contract-files.ts'
import { checkHost } from './contract-host.ts'
import { checkSignals } from './contract-signals.ts'

const [directory = ''] = process.argv.slice(2)
checkCalls(directory)
checkBuffers(directory)
checkFiles(directory)
checkHost(directory)
// Last: terminating signals are held from then on.
checkSignals()
writeAll(1, new TextEncoder().encode(report()))
libc._exit(0)
