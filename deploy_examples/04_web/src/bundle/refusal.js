/** What a user can put right: one sentence of what was expected, what was found and what to do. */
export class Refusal extends Error {}
