/** The table of commands. */

import { add } from './add.ts'
import { check } from './check.ts'
import type { Command } from './command.ts'
import { del } from './del.ts'
import { gc } from './gc.ts'
import { status } from './status.ts'
import { version } from './version.ts'

export const commands: readonly Command[] = [add, del, check, gc, status, version]
