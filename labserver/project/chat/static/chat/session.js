// Who the user of this tab is: two tokens, kept as long as the tab lives, and fresh ones in time.
const KEY = "channels-lab-tokens";
const EARLY = 30; // seconds before its end that a token is replaced

export class SignedOut extends Error {} // only the user can mend this: sign in (again)

const WORDS = { // what the server's codes mean to a person; other refusals keep the server's own words
  user_inactive: "this account is disabled",
  user_not_found: "this account does not exist any more",
  password_changed: "the password was changed",
};

export class Session {
  #tokens = null;
  #root;
  #stale = false;

  constructor(root) {
    this.#root = root;
    try {
      this.#tokens = JSON.parse(sessionStorage.getItem(KEY));
    } catch { // a frame may be allowed to keep nothing: then the tokens live as long as the page
    }
  }

  get access() {
    return this.#tokens?.access ?? null;
  }

  get userId() { // what is in a token is no secret, and only the server needs to check it
    return this.access && Number(claims(this.access).user_id);
  }

  get due() { // seconds until a fresh access token should be fetched
    return claims(this.access).exp - Date.now() / 1000 - EARLY;
  }

  async signIn(username, password) {
    this.#keep(await this.#post("api/token/", { username, password }));
  }

  signOut() {
    this.#keep(null);
  }

  spoil() { // the next use of the access token begins with a fresh one
    this.#stale = true;
  }

  async refresh() { // tokens that are refused are forgotten: trying them again would change nothing
    try {
      this.#keep({ ...this.#tokens, ...(await this.#post("api/token/refresh/", { refresh: this.#tokens.refresh })) });
    } catch (error) {
      if (error instanceof SignedOut) this.signOut();
      throw error;
    }
  }

  async get(path) { // JSON for a signed-in user; with an expired token once more, with a fresh one
    if (!this.access) throw new SignedOut("sign in first");
    if (this.#stale) await this.refresh();
    try {
      return await this.#ask(path, { headers: { Authorization: `Bearer ${this.access}` } });
    } catch (error) {
      if (!(error instanceof SignedOut)) throw error;
      if (error.code !== "token_not_valid") this.signOut();
      if (!this.access) throw error;
    }
    await this.refresh();
    return this.#ask(path, { headers: { Authorization: `Bearer ${this.access}` } });
  }

  #post(path, fields) {
    const headers = { "Content-Type": "application/json" };
    return this.#ask(path, { method: "POST", headers, body: JSON.stringify(fields) });
  }

  async #ask(path, options) {
    const answer = await fetch(new URL(path, this.#root), options).catch(() => null);
    const content = await answer?.json().catch(() => null); // a proxy may answer with a page of its own
    if (answer?.status === 401 || answer?.status === 400) throw Object.assign(new SignedOut(why(content)), content);
    if (answer?.status === 429) throw new Error("too many attempts: try again in a minute"); // so says nginx, with a page
    if (!answer?.ok || !content) throw new Error(`the server cannot be reached${answer ? ` (HTTP ${answer.status})` : ""}`);
    return content;
  }

  #keep(tokens) {
    this.#tokens = tokens;
    this.#stale = false;
    try {
      if (tokens) sessionStorage.setItem(KEY, JSON.stringify(tokens));
      else sessionStorage.removeItem(KEY);
    } catch { // as above
    }
  }
}

function why(content) {
  return WORDS[content?.code] ?? content?.detail ?? "name and password are both needed";
}

function claims(token) {
  const [, payload] = token.split(".");
  return JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
}
