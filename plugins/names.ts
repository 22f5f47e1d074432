/** The names under which the executable is linked in dist/bin. */
export const executableNames: readonly string[] = ['bridge', 'cnictl', 'host-local', 'loopback']
