/** What the attacker is told about the host, so that it need not guess. */
export interface Targets {
  /** The host's state folder, and what must not be read in it. */
  state: string;
  victimData: string;
  victimSocket: string;
  victimSecret: string;
  /** Processes of the host, of the neighbour and of its sandbox, as the host sees them. */
  pids: number[];
  /** Ports of the ingress, and of listeners where Litestream, Temporal and the API would listen. */
  ports: number[];
  abstractSocket: string;
  forbidden: string[];
}

/** Returns what was reached that should not be, or null. */
export type Attack = (targets: Targets) => Promise<string | null> | string | null;

export const data = Deno.env.get("MARTLET_DATA")!;

/** Tries all, and tells of the first that succeeds with a result. */
export async function first(tries: (() => unknown)[]): Promise<string | null> {
  for (const attempt of tries) {
    try {
      const result = await attempt();
      if (result !== null && result !== undefined && result !== false) return String(result).slice(0, 200);
    } catch {
      // As it should be.
    }
  }
  return null;
}

export const hostFiles = (t: Targets) => [
  `${t.victimData}/main.db`,
  `${t.state}/state.db`,
  `${t.state}/host.key`,
  `${t.state}/apps`,
];

/** Ways to write the same path. */
export const disguises = (path: string) => [
  path,
  `/proc/1/root${path}`,
  `/proc/self/root${path}`,
  `/proc/self/cwd/../../../..${path}`,
  `${data}/../../../../../..${path}`,
  `/app/../../../../../..${path}`,
  `/proc/self/fd/0/../../../..${path}`,
];

export const look = (path: string): string | null => {
  try {
    return `${path}: ${Deno.readFileSync(path).length} bytes`;
  } catch {
    const names = [...Deno.readDirSync(path)].map((entry) => entry.name);
    return `${path}: ${names.join(" ")}`;
  }
};
