const fields = [
  ["minute", 0, 59, []],
  ["hour", 0, 23, []],
  ["day of the month", 1, 31, []],
  ["month", 1, 12, ["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]],
  ["day of the week", 0, 7, ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]],
] as const;

/**
 * Checks a cron expression: five fields in UTC of numbers, `*`, ranges, lists, steps, and English names of months and
 * weekdays in three letters. Throws on others.
 */
export function checkCron(expression: string): void {
  const parts = expression.split(" ");
  if (parts.length !== fields.length) {
    throw new TypeError(
      `CRON ${expression}: five fields are needed (minute, hour, day, month, day of the week), such as "0 4 * * *", ` +
        `and "once" or "skip" after them for times that were missed`,
    );
  }
  parts.forEach((part, i) => {
    const [name, least, most, names] = fields[i]!;
    for (const item of part.split(",")) {
      const match = /^(?:\*|(\w+)(?:-(\w+))?)(?:\/(\d+))?$/.exec(item);
      const [from, to, step] = [match?.[1], match?.[2], match?.[3]].map((text) => numberOf(text, names));
      const isWrong = match === null || [from, to, step].some(Number.isNaN) ||
        (from !== undefined && (from < least || from > most)) ||
        (to !== undefined && (to > most || to < from!)) ||
        (step !== undefined && (step < 1 || step > most + 1));
      if (isWrong) {
        throw new TypeError(
          `CRON ${expression}: ${item} is no ${name} (${least} to ${most}, *, a-b, a,b, */n)`,
        );
      }
    }
  });
}

function numberOf(text: string | undefined, names: readonly string[]): number | undefined {
  if (text === undefined) return undefined;
  const index = names.indexOf(text.toLowerCase());
  return index >= 0 && text !== "" ? index : /^\d+$/.test(text) ? Number(text) : NaN;
}
