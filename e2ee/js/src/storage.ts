// What this browser keeps: the identity, the people met, the rooms. In IndexedDB,
// or in memory for an identity that is to be forgotten, and where the browser
// refuses to store.

/** Some values by their keys. Values are structured-cloneable; a CryptoKey is. */
export interface Store<T> {
  get(key: string): Promise<T | undefined>;
  all(): Promise<[string, T][]>;
  put(key: string, value: T): Promise<void>;
  /** Puts value if nothing is there, and gives what is there then. */
  add(key: string, value: T): Promise<T>;
  delete(key: string): Promise<void>;
}

const storeNames = ["identity", "people", "rooms"] as const;
export type StoreName = (typeof storeNames)[number];

export interface Storage {
  store<T>(name: StoreName): Store<T>;
}

const databaseName = "sotto";
const databaseVersion = 1;

/** Opens the database of this origin and profile; rejects where there is none. */
export async function openStorage(factory: IDBFactory): Promise<Storage> {
  const opening = factory.open(databaseName, databaseVersion);
  opening.onupgradeneeded = () => {
    for (const name of storeNames) opening.result.createObjectStore(name);
  };
  const database = await settled(opening);
  // Another tab may bring a later version of this page.
  database.onversionchange = () => database.close();
  return { store: <T>(name: StoreName) => new DatabaseStore<T>(database, name) };
}

class DatabaseStore<T> implements Store<T> {
  constructor(
    private readonly database: IDBDatabase,
    private readonly name: StoreName,
  ) {}

  get(key: string): Promise<T | undefined> {
    return settled(this.open("readonly").get(key) as IDBRequest<T | undefined>);
  }

  async all(): Promise<[string, T][]> {
    const store = this.open("readonly");
    const keys = settled(store.getAllKeys());
    const values = settled(store.getAll() as IDBRequest<T[]>);
    const found = await values;
    return (await keys).map((key, i) => [String(key), found[i]!]);
  }

  async put(key: string, value: T): Promise<void> {
    await settled(this.open("readwrite").put(value, key));
  }

  async add(key: string, value: T): Promise<T> {
    // One transaction, so that two tabs that start at once agree.
    const store = this.open("readwrite");
    const there = await settled(store.get(key) as IDBRequest<T | undefined>);
    if (there !== undefined) return there;
    await settled(store.put(value, key));
    return value;
  }

  async delete(key: string): Promise<void> {
    await settled(this.open("readwrite").delete(key));
  }

  private open(mode: IDBTransactionMode): IDBObjectStore {
    return this.database.transaction(this.name, mode).objectStore(this.name);
  }
}

/** A database that is silent for so long does not answer: who joins does not wait for it. */
const answerWithinMs = 3000;

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const silence = setTimeout(() => reject(new Error("storage")), answerWithinMs);
    request.onsuccess = () => {
      clearTimeout(silence);
      resolve(request.result);
    };
    request.onerror = () => {
      clearTimeout(silence);
      reject(request.error ?? new Error("storage"));
    };
  });
}

/** Storage that goes with the worker. */
export function memoryStorage(): Storage {
  const stores = new Map<StoreName, Store<unknown>>();
  return {
    store: <T>(name: StoreName) => {
      if (!stores.has(name)) stores.set(name, new MemoryStore<unknown>());
      return stores.get(name) as Store<T>;
    },
  };
}

class MemoryStore<T> implements Store<T> {
  private readonly values = new Map<string, T>();

  async get(key: string): Promise<T | undefined> {
    return this.values.get(key);
  }

  async all(): Promise<[string, T][]> {
    return [...this.values];
  }

  async put(key: string, value: T): Promise<void> {
    this.values.set(key, value);
  }

  async add(key: string, value: T): Promise<T> {
    const there = this.values.get(key);
    if (there !== undefined) return there;
    this.values.set(key, value);
    return value;
  }

  async delete(key: string): Promise<void> {
    this.values.delete(key);
  }
}
