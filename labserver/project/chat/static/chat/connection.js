// A WebSocket that stays: it is watched by pings, and made again when it is lost. It knows nothing of the page.
const PING_EVERY = 20; // seconds
const ANSWER_WITHIN = 10; // seconds without a word until the connection counts as dead
const FIRST_WAIT = 1; // seconds before the first attempt to reconnect; twice as long before each further one
const LONGEST_WAIT = 30;

export class Refused extends Error {} // trying again would change nothing: it is the user's turn

export class Connection {
  // address: an async function, asked before every attempt: an array, the arguments of WebSocket. It may throw Refused.
  // on.closed(code): words for a close, and whether to refuse (true) or to try again; nothing for the usual ones.
  // on.state(name, why, seconds): disconnected, connecting, connected, waiting (for the next attempt), refused.
  // on.message(data): whatever arrives. on.unanswered(parcels): of what was sent, what nobody knows the fate of.
  #socket = null;
  #state = "disconnected";
  #round = 0; // of this attempt; what an earlier one still brings is ignored
  #failures = 0; // in a row
  #asked = []; // for each ping without a pong, the parcel that it follows, or null
  #next = 0; // timer of the next ping or attempt
  #deadline = 0; // timer that a word from the server stops

  constructor(address, on) {
    this.address = address;
    this.on = on;
  }

  get state() {
    return this.#state;
  }

  connect() {
    this.#failures = 0;
    this.#attempt();
  }

  disconnect() {
    this.#end();
    this.#tell("disconnected");
  }

  hurry() { // the network is back, or somebody looks at the page again: timers may have slept
    if (this.#state === "waiting") this.#attempt();
    else if (this.#state === "connected") this.#ping();
  }

  send(data, parcel) { // the pong to the ping that follows says that the server has dealt with the message
    this.#socket.send(data);
    this.#ping(parcel);
  }

  complaint() { // the parcel that an error from the server is about: messages are dealt with in their order
    const [parcel] = this.#asked.splice(0, 1, null);
    return parcel;
  }

  async #attempt() {
    this.#end();
    const round = this.#round;
    this.#tell("connecting");
    this.#expect();
    let address;
    try {
      address = await this.address();
    } catch (error) {
      if (round !== this.#round) return;
      if (error instanceof Refused) this.refuse(error.message);
      else this.#retry(error.message);
      return;
    }
    if (round !== this.#round) return;
    const socket = (this.#socket = new WebSocket(...address));
    // Open is not yet connected: the server may accept only to say why it refuses, and a proxy accepts whatever comes.
    socket.onopen = () => socket === this.#socket && this.#ping();
    socket.onmessage = ({ data }) => socket === this.#socket && this.#heard(data);
    socket.onclose = ({ code }) => socket === this.#socket && this.#closed(code);
  }

  #ping(parcel = null) {
    this.#asked.push(parcel);
    this.#socket.send("ping");
    if (!this.#deadline) this.#expect();
  }

  #expect() {
    this.#deadline = setTimeout(() => this.#retry("the server does not answer"), ANSWER_WITHIN * 1000);
  }

  #heard(data) {
    if (this.#state === "connected" || data === "pong") {
      clearTimeout(this.#deadline);
      this.#deadline = 0;
    }
    if (data !== "pong") {
      this.on.message(data);
      return;
    }
    this.#asked.shift();
    if (this.#state === "connected") return;
    this.#failures = 0;
    this.#next = setInterval(() => this.#ping(), PING_EVERY * 1000);
    this.#tell("connected");
  }

  #closed(code) {
    const verdict = this.on.closed(code);
    if (verdict) this[verdict.refuse ? "refuse" : "again"](verdict.why);
    else if (code === 4008) this.refuse("too many messages in too short a time");
    else if (code === 1001) this.#retry("the server has stopped");
    else this.#retry(`the connection ${this.#state === "connected" ? "was lost" : "failed"} (code ${code})`);
  }

  refuse(why) {
    this.#end();
    this.#tell("refused", why);
  }

  again(why) { // at once: what was wrong has been seen to
    this.#end();
    this.#wait(0, why);
  }

  #retry(why) {
    this.#end();
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#failures++);
    this.#wait(wait * (0.5 + Math.random() / 2), why); // not all pages at the same moment
  }

  #wait(seconds, why) {
    this.#tell("waiting", why, Math.ceil(seconds));
    const then = () => (seconds > 1 ? this.#wait(seconds - 1, why) : this.#attempt());
    this.#next = setTimeout(then, Math.min(seconds, 1) * 1000);
  }

  #end() { // of this attempt, without waiting for the server: it may be gone
    clearTimeout(this.#next); // stops an interval as well
    clearTimeout(this.#deadline);
    this.#deadline = 0;
    this.#round++;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    const parcels = this.#asked.filter(Boolean);
    this.#asked = [];
    if (parcels.length) this.on.unanswered(parcels);
  }

  #tell(state, why = "", seconds = 0) {
    this.#state = state;
    this.on.state(state, why, seconds);
  }
}
