/** What the agent does besides endpoints: each module adds its verbs, its keys and its watches. */

import { blocks } from './blocks/module.ts'
import type { Module } from './context.ts'
import { mesh } from './services/module.ts'

export const modules: readonly Module[] = [blocks, mesh]
