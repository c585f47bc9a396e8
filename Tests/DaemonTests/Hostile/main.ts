/** An app that attacks: `POST /run?case=NAME` answers `{"escaped": WHAT}` with null where the attack failed. */
import { files } from "./files.ts";
import { kernel } from "./kernel.ts";
import { network } from "./network.ts";
import { native } from "./native.ts";
import { answers, bombs } from "./bombs.ts";
import type { Attack, Targets } from "./targets.ts";

const cases: Record<string, Attack> = { ...files, ...kernel, ...network, ...native, ...bombs };

export default {
  async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === "/names") return Response.json(Object.keys(cases));
    const answer = answers[url.pathname.slice(1)];
    if (answer !== undefined) return await answer(request);
    const attack = cases[url.searchParams.get("case") ?? ""];
    if (attack === undefined) return new Response("attacker");
    const targets: Targets = await request.json();
    try {
      return Response.json({ escaped: await attack(targets) });
    } catch (error) {
      // An attack that fails with an error has failed.
      return Response.json({ escaped: null, error: String(error) });
    }
  },
};
