/** The plugins' way to overlayd: synchronous, one request per connection. */

import { CniError, ErrorCode } from '../cni/errors.ts'
import { attachmentDigest } from '../cni/names.ts'
import { makeDirectories, replaceFile } from '../sys/file.ts'
import { askUnixSocket } from '../sys/unix-socket.ts'
import {
  AGENT_PROTOCOL_VERSION,
  type AgentAnswer,
  type AgentAttachment,
  type AgentRequest,
  type AgentVerb,
  type AnswerLine,
  SPOOL_DIRECTORY,
} from './agent-protocol.ts'

/** The agent answers at once, or when etcd has: an election of a new leader takes some two seconds. */
const ANSWER_TIMEOUT_MS = 10_000
/** DEL need not wait for a slow agent: it leaves its release in the spool. */
const WITHDRAW_TIMEOUT_MS = 3_000

/** Nobody listens at the socket, or no answer came. Code 11: the runtime tries again. */
export class AgentAwayError extends CniError {
  constructor(socket: string, cause: Error) {
    super(
      ErrorCode.tryAgainLater,
      `overlayd does not answer at ${JSON.stringify(socket)}: ${cause.message}`,
      'start the agent ("systemctl start overlayd"); its log says why it is not running',
      { cause },
    )
    this.name = 'AgentAwayError'
  }
}

/**
 * Asks the agent.
 * @throws AgentAwayError when it is not there
 * @throws CniError what the agent answered
 */
export function callAgent<V extends AgentVerb>(
  socket: string,
  verb: V,
  request: AgentRequest<V>,
  timeoutMs = ANSWER_TIMEOUT_MS,
): AgentAnswer<V> {
  const line = `${JSON.stringify({ version: AGENT_PROTOCOL_VERSION, verb, ...request })}\n`
  const text = ask(socket, line, timeoutMs)
  const answer = parseAnswer(text)
  if (answer === undefined)
    throw new AgentAwayError(socket, new Error(text === '' ? 'it closed the connection' : `it said ${text}`))
  if ('error' in answer) throw new CniError(answer.error.code, answer.error.msg, answer.error.details)
  return answer.answer as AgentAnswer<V>
}

function ask(socket: string, line: string, timeoutMs: number): string {
  try {
    return askUnixSocket(socket, line, timeoutMs)
  } catch (error) {
    if (error instanceof Error && error.name === 'SysError') throw new AgentAwayError(socket, error)
    throw error
  }
}

function parseAnswer(text: string): AnswerLine | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && ('answer' in value || 'error' in value)
      ? (value as AnswerLine)
      : undefined
  } catch {
    return undefined
  }
}

/** DEL's call: the release is left in the spool when the agent is away, which drains it when it is back. */
export function withdrawAttachment(socket: string, attachment: AgentAttachment): void {
  const { network, containerId, ifname } = attachment
  try {
    callAgent(socket, 'withdraw', { network, containerId, ifname }, WITHDRAW_TIMEOUT_MS)
  } catch (error) {
    if (!(error instanceof AgentAwayError)) throw error
    makeDirectories(SPOOL_DIRECTORY, 0o700)
    replaceFile(spoolPath(attachment), `${JSON.stringify({ network, containerId, ifname })}\n`)
  }
}

/** One file per attachment, so that a DEL that is repeated leaves one release. */
export function spoolPath({ network, containerId, ifname }: AgentAttachment): string {
  return `${SPOOL_DIRECTORY}/${attachmentDigest(network, containerId, ifname).slice(0, 32)}.json`
}
