/** Programs and digests, by whichever runtime this is. */

export type { Libc, SpawnOptions, SpawnResult } from './libc-symbols.ts'

import { host } from '#libc'

export const { sha512, spawnSync } = host
