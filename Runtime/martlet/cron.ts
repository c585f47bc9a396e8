const fields = [
  ["minute", 0, 59],
  ["hour", 0, 23],
  ["day of the month", 1, 31],
  ["month", 1, 12],
  ["day of the week", 0, 7],
] as const;

/** Checks a cron expression: five fields in UTC of numbers, `*`, ranges, lists and steps. Throws on others. */
export function checkCron(expression: string): void {
  const parts = expression.split(" ");
  if (parts.length !== fields.length) {
    throw new TypeError(
      `CRON ${expression}: five fields are needed (minute, hour, day, month, day of the week), such as "0 4 * * *"`,
    );
  }
  parts.forEach((part, i) => {
    const [name, least, most] = fields[i]!;
    for (const item of part.split(",")) {
      const match = /^(?:\*|(\d+)(?:-(\d+))?)(?:\/(\d+))?$/.exec(item);
      const [from, to, step] = [match?.[1], match?.[2], match?.[3]].map((text) =>
        text === undefined ? undefined : Number(text)
      );
      const isWrong = match === null || (from !== undefined && (from < least || from > most)) ||
        (to !== undefined && (to > most || to < from!)) || step === 0;
      if (isWrong) {
        throw new TypeError(
          `CRON ${expression}: ${item} is no ${name} (${least} to ${most}, *, a-b, a,b, */n)`,
        );
      }
    }
  });
}
