// What this browser keeps, in IndexedDB: the owner's key only if they choose so; heads, receipts and consents otherwise.
const NAME = "earmark";
const STORES = ["kept", "receipts", "notes"];

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => STORES.forEach((name) => request.result.createObjectStore(name));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function run(name, mode, work) {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(name, mode);
      const request = work(transaction.objectStore(name));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

/** A browser without storage, as in some private windows, keeps nothing: reads find nothing. */
export async function read(store, key) {
  try {
    return await run(store, "readonly", (open) => open.get(key));
  } catch {
    return undefined;
  }
}

export const readAll = (store) => run(store, "readonly", (open) => open.getAll());
export const write = (store, key, value) => run(store, "readwrite", (open) => open.put(value, key));
export const remove = (store, key) => run(store, "readwrite", (open) => open.delete(key));
