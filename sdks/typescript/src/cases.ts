/** Cases: questions with the expected verdicts, as the project's test vectors have them. */

import type { Trust } from "./keys.js";
import { type Verdict, Verifier } from "./verifier.js";

/** One case, or a sequence of cases (`steps`) that inherit the members of the outer one. */
export interface Case {
  name?: string;
  trust: Trust;
  audience: string;
  issuer?: string;
  license?: string;
  keys?: string;
  status?: string;
  max_status_age?: number;
  /** A step has the memory of the step before, unless it has its own (null: none). */
  memory?: string | null;
  build?: number;
  device?: string;
  now: number;
  expect?: Record<string, unknown>;
  steps?: Partial<Case>[];
}

export type Result = Verdict & { memory: string };

/** Returns the verdict of a case; throws if the trust or the audience is unusable. */
export async function runCase(given: Case): Promise<Result> {
  const verifier = new Verifier({
    trust: given.trust,
    audience: given.audience,
    issuer: given.issuer ?? undefined,
    build: given.build ?? undefined,
    device: given.device ?? undefined,
    maxStatusAge: given.max_status_age ?? undefined,
  });
  const { license, keys, status, memory, now } = given;
  if (typeof now !== "number") throw new TypeError("the case has no number \"now\"");
  const answer = await verifier.verify({ license, keys, status, memory, now });
  return { ...answer.verdict, memory: answer.memory };
}

/** Returns the verdicts of a sequence, in order. */
export async function runSteps({ steps = [], ...shared }: Case): Promise<Result[]> {
  const results: Result[] = [];
  let memory = shared.memory;
  for (const step of steps) {
    const result = await runCase({ ...shared, memory: memory ?? null, ...step });
    memory = result.memory;
    results.push(result);
  }
  return results;
}

/**
 * Runs a case with the verdicts that it expects. Returns the first difference as text; null if
 * there is none.
 */
export async function checkCase(given: Case): Promise<string | null> {
  const steps = given.steps ?? [given];
  const results = given.steps ? await runSteps(given) : [await runCase(given)];
  for (const [index, result] of results.entries()) {
    const expected = steps[index]?.expect ?? given.expect;
    const difference = expected ? findDifference(expected, result) : "expect is missing";
    if (difference !== null) return given.steps ? `step ${index + 1}: ${difference}` : difference;
  }
  return null;
}

function findDifference(expected: Record<string, unknown>, result: Result): string | null {
  const found: Record<string, unknown> = { ...result };
  if (expected["memory"] !== null) found["memory"] = JSON.parse(result.memory);
  for (const [member, value] of Object.entries(expected)) {
    const [wanted, got] = [canonical(value), canonical(found[member])];
    if (wanted !== got) return `${member}: expected ${wanted}, got ${got}`;
  }
  return null;
}

/** Returns JSON with the members of objects in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => {
    if (typeof member !== "object" || member === null || Array.isArray(member)) return member;
    const byName = Object.entries(member).sort(([one], [other]) => (one < other ? -1 : 1));
    return Object.fromEntries(byName);
  }) ?? "nothing";
}
