/** Sockets of the host, as in ss(8). */

export { type BoundSocket, listBoundSockets, type Transport } from './bound-socket.ts'
