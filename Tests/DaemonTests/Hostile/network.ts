import { type Attack, first } from "./targets.ts";

const late = (ms: number) => new Promise<null>((resolve) => setTimeout(() => resolve(null), ms));

async function call(hostname: string, port: number): Promise<string | null> {
  const opening = Deno.connect({ hostname, port });
  opening.catch(() => {});
  const connection = await Promise.race([opening, late(1500)]);
  if (connection === null) return null;
  connection.close();
  return `${hostname} port ${port}`;
}

const all = async (tries: Promise<string | null>[]) => {
  const results = await Promise.allSettled(tries);
  const found = results.flatMap((one) => one.status === "fulfilled" && one.value !== null ? [one.value] : []);
  return found.length === 0 ? null : found.join(", ");
};

export const network: Record<string, Attack> = {
  "connect to the ingress, the API, Litestream and Temporal": (t) =>
    all(
      ["127.0.0.1", "::1", "localhost", "0.0.0.0", "203.0.113.1", "10.87.0.1", "::ffff:127.0.0.1"].flatMap((host) =>
        t.ports.map((port) => call(host, port))
      ),
    ),

  "connect to private, link-local and metadata addresses": (t) => all(t.forbidden.map((host) => call(host, 8080))),

  "write addresses in other ways": () =>
    all(
      ["0xa090909", "167774473", "012.011.011.011", "10.9.2313", "127.1", "0", "0x7f.1", "[::ffff:a09:909]"].map((host) =>
        call(host, 8080)
      ),
    ),

  "fetch the metadata of a cloud": () =>
    first(
      ["http://169.254.169.254:8080/latest/meta-data/", "http://metadata.test:8080/", "http://[fd00::7]:8080/"].map((url) =>
      async () => {
        const answer = await Promise.race([fetch(url), late(1500)]);
        return answer === null ? null : `${url} answered ${answer.status}`;
      }),
    ),

  "rebind a name": () =>
    first([async () => {
      await Deno.resolveDns("hostile.rebind.test", "A");
      return await call("hostile.rebind.test", 8080);
    }]),

  "resolve names of the host's network": () =>
    first(
      ["private.test", "metadata.test", "mapped.test", "local6.test", "machine.test"].map((name) => async () => {
        const records = await Promise.race([Deno.resolveDns(name, "A"), late(1500)]);
        return records !== null && records.length > 0 ? `${name} is ${records}` : null;
      }),
    ),

  "ask for the names of private addresses": () =>
    first([async () => {
      const records = await Promise.race([Deno.resolveDns("9.9.9.10.in-addr.arpa", "PTR"), late(1500)]);
      return records;
    }]),

  "send datagrams to private addresses": (t) =>
    first([async () => {
      const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
      for (const hostname of t.forbidden.filter((one) => !one.includes(":"))) {
        for (const port of [8080, 53]) {
          if (hostname === "10.87.0.1") continue;
          try {
            await socket.send(new TextEncoder().encode("hello"), { transport: "udp", hostname, port });
          } catch {
            // Refused at once.
          }
        }
      }
      const answer = await Promise.race([socket.receive(), late(1000)]);
      socket.close();
      return answer === null ? null : JSON.stringify(answer[1]);
    }]),

  "speak to the socket of the neighbour's worker": (t) =>
    first(
      [t.victimSocket, `/proc/1/root${t.victimSocket}`, "/run/w/c.sock", "/run/w/a.sock", `${t.state}/run/api.sock`].map((
        path,
      ) =>
      async () => {
        const connection = await Deno.connect({ transport: "unix", path });
        connection.close();
        return path;
      }),
    ),

  "reach the neighbour's network": () =>
    all([2, 3, 4, 5, 6, 7, 8].map((index) => `10.87.0.${index}`).flatMap((host) => [call(host, 8080), call(host, 80)])
      .concat([2, 3, 4, 5].map((index) => call(`fd87:6d61:7274::${index}`, 8080)))),

  "find another app on the own loopback": () =>
    all(Array.from({ length: 64 }, (_, index) => call("127.0.0.1", 8000 + index))),
};
