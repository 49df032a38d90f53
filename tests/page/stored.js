// Everything that the page's origin stores, as text.
(async () => {
  const found = [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie];
  for (const { name } of await indexedDB.databases()) {
    const database = await new Promise((resolve, reject) => {
      const request = indexedDB.open(name);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    for (const store of database.objectStoreNames) {
      const values = await new Promise((resolve, reject) => {
        const request = database.transaction(store).objectStore(store).getAll();
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
      for (const value of values) {
        found.push(JSON.stringify(value, (name, one) => one instanceof CryptoKey
          ? `CryptoKey ${one.algorithm.name} extractable=${one.extractable}`
          : one instanceof Uint8Array ? Array.from(one, (byte) => String.fromCharCode(byte)).join("") : one));
      }
    }
    database.close();
  }
  for (const name of await caches.keys()) found.push(`cache ${name}`);
  return found.join("\\n");
})()
