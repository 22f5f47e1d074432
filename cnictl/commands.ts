/** The table of commands. */

import { add } from './add.ts'
import { check } from './check.ts'
import type { Command, CommandGroup } from './command.ts'
import { del } from './del.ts'
import { gc } from './gc.ts'
import { overlay } from './overlay/index.ts'
import { status } from './status.ts'
import { version } from './version.ts'

export const commands: readonly (Command | CommandGroup)[] = [add, del, check, gc, status, version, overlay]
