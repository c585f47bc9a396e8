/** An app whose routes take and give every kind of type. */
export const everyType = `import { serve, HttpError } from "martlet";
export interface Node { value: Date; next?: Node | null }
export type Shape = { kind: "circle"; radius: number; at: Date } | { kind: "square"; side: bigint };
/** Every kind. */
export interface Every {
  s: string; n: number; b: boolean; nil: null; big: bigint; when: Date; maybe?: Date; orNull: Date | null; list: Date[]; tuple: [string, Date?]; rest: [string, ...bigint[]];
  lits: "a" | 1 | true; shape: Shape; shapes: Shape[]; record: Record<string, Date>; node: Node; any: unknown; "odd name": number; mixed: string | number[] | null; page: Page<Node>;
}
export interface Page<T> { items: T[]; total: number }
export function every(value: Every): Every { return { ...value, when: new Date(value.when.getTime()) }; }
export function parts(id: number, a: string, b: Date, c?: boolean): { id: number; a: string; b: Date; c: boolean | null } { return { id, a, b, c: c ?? null }; }
export function query(texts: string[], since: Date, big?: bigint): { texts: string[]; since: Date; big: string } { return { texts, since, big: String(big) }; }
export function text(name: string): string { return "hello " + name; }
export function find(id: number): Node | null { return id === 1 ? { value: new Date(0) } : null; }
export function nothing(): void {}
export function teapot(): number { throw new HttpError(418, "short and stout"); }
export async function* ticks(count: number): AsyncGenerator<{ at: Date }> { for (let i = 0; i < count; i++) yield { at: new Date(i) }; }
export default serve({
  "POST /every": every, "PUT /parts/:id": parts, "GET /query": query, "GET /text/:name": text, "GET /find/:id": find, "DELETE /nothing": nothing, "GET /teapot": teapot, "SSE /ticks": ticks,
  "GET /inline": () => ({ a: 1 }), "WS /live": (socket: WebSocket) => socket.close(),
});`;
