/** What can go wrong between the agent and etcd. */

/** Numbers of gRPC's status codes that are told apart here. @see https://grpc.io/docs/guides/status-codes/ */
export const Status = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  outOfRange: 11,
  unavailable: 14,
  unauthenticated: 16,
} as const

/** A call that etcd, or the way to it, refused. */
export class EtcdError extends Error {
  readonly status: number
  /** Whose answer it is: https://192.0.2.1:2379 */
  readonly endpoint: string

  constructor(endpoint: string, status: number, reason: string, options?: ErrorOptions) {
    super(`etcd at ${endpoint}: ${reason}`, options)
    this.name = 'EtcdError'
    this.status = status
    this.endpoint = endpoint
  }

  /** The member is away or without a leader: another one, or the same one later, may answer. */
  get passing(): boolean {
    const { unavailable, deadlineExceeded, cancelled } = Status
    return [unavailable, deadlineExceeded, cancelled].some(status => status === this.status)
  }

  /** The token is unknown to the member, or older than the last change of its users and roles. */
  get staleToken(): boolean {
    return (
      this.status === Status.unauthenticated || /invalid auth token|revision of auth store is old/.test(this.message)
    )
  }
}
