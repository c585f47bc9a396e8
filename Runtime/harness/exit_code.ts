/** How a worker ends; the host reads these. Any other status is the app's own `Deno.exit` or a crash. */
export const ExitCode = {
  /** Stopped as asked: everything is closed. */
  stopped: 0,
  /** Wrong arguments on the command line. */
  usage: 2,
  /** The app could not be started; a `failed` message came before. */
  failed: 3,
  /** The control connection was lost or spoke nonsense: the host is gone. */
  hostGone: 4,
  /** A socket could not be opened or a module of the runtime could not be loaded. */
  boot: 5,
} as const;
