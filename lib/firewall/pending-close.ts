/** Closing sockets at a moment of the caller's choice. */

/**
 * Something to be closed when the caller has nothing else to do. After a deletion closing waits some 10 ms for the
 * kernel to free what was deleted, and deleting a link waits for the same: done first, the link's wait covers it. The
 * end of the process closes it too.
 */
export interface PendingClose {
  close(): void
}
