// Everything that a page can do to another server without asking it before: fetches of either mode, beacons, forms of
// every encoding in frames, elements that load. Gives what it could read. JOB and PNG are filled in.
async (target) => {
    const read = [];
    const image = `${target}/v1/collections/colours/images/red.png`;
    const writes = [
        ["POST", "/v1/collections", JSON.stringify({ name: "made" })],
        ["POST", "/v1/collections/colours/jobs", JSON.stringify({ sources: ["/"] })],
        ["POST", "/v1/collections/colours/search", JSON.stringify({ text: "red" })],
        ["POST", "/v1/rerank", JSON.stringify({ query: "a", documents: [{ id: "red.png", collection: "colours" }] })],
        ["POST", "/v1/collections/colours/trash/restore", JSON.stringify({ all: true })],
        ["POST", "/v1/trash/colours/restore", "{}"],
        ["POST", "/v1/jobs/JOB/cancel", ""], ["POST", "/v1/jobs/JOB/retry", ""],
        ["POST", "/session", "key=sesame"],
        ["PATCH", "/v1/collections/colours/images/red.png", JSON.stringify({ caption: "stolen" })],
        ["DELETE", "/v1/collections/colours/images/red.png", null],
        ["DELETE", "/v1/collections/colours/trash?all=true", null],
        ["DELETE", "/v1/collections/colours?purge=true", null],
        ["DELETE", "/v1/trash/colours", null],
    ];
    const reads = ["/v1/collections", "/v1/collections/colours/images", "/v1/jobs", "/readyz", "/metrics", "/",
        "/?q=red", "/openapi.json", "/v1/collections/colours/images/red.png/file", "/static/sightline.js"];
    const upload = () => {
        const form = new FormData();
        form.append("files", new File([Uint8Array.from(atob("PNG"), (c) => c.charCodeAt(0))], "evil.png"));
        return form;
    };
    const ask = async (path, options) => {
        try {
            const answer = await fetch(target + path, { signal: AbortSignal.timeout(10000), ...options });
            if (answer.ok && answer.type !== "opaque") read.push(`${options.method} ${path} ${answer.type}`);
        } catch { /* what the browser or the server refused */ }
    };
    const jobs = [];
    const credentials = "include";
    for (const mode of ["cors", "no-cors"]) {
        for (const path of reads) jobs.push(() => ask(path, { method: "GET", mode, credentials }));
        jobs.push(() => ask("/v1/collections/colours/images", { method: "POST", mode, credentials, body: upload() }));
        for (const [method, path, body] of writes)
            for (const type of ["application/json", "text/plain"])
                jobs.push(() => ask(path, { method, mode, credentials, body, headers: { "Content-Type": type } }));
    }
    await Promise.all(jobs.map((job) => job()));
    navigator.sendBeacon(`${target}/v1/collections/colours/images`, upload());
    navigator.sendBeacon(`${target}/v1/collections`, new Blob([writes[0][2]], { type: "text/plain" }));
    navigator.sendBeacon(`${target}/v1/jobs/JOB/cancel`);
    const element = (name, attributes) => new Promise((done) => {
        const one = Object.assign(document.createElement(name), attributes);
        one.onload = () => { read.push(`${name} ${attributes.src || attributes.href || attributes.data}`); done(); };
        one.onerror = () => done();
        setTimeout(done, 2000);
        document.body.append(one);
    });
    const elements = [
        element("img", { src: `${image}/file` }), element("img", { src: `${image}/thumbnail` }),
        element("img", { src: `${image}/thumbnail`, crossOrigin: "use-credentials" }),
        element("img", { src: `${target}/static/icon.svg` }),
        element("script", { src: `${target}/static/sightline.js` }), element("script", { src: `${target}/v1/jobs` }),
        element("link", { rel: "stylesheet", href: `${target}/static/sightline.css` }),
        element("video", { src: `${image}/file` }),
    ];
    const frame = document.createElement("iframe");
    frame.src = `${target}/`;
    document.body.append(frame);
    const framed = new Promise((done) => { frame.onload = done; setTimeout(done, 2000); }).then(() => {
        try { if (frame.contentDocument.body.innerText.includes("sightline")) read.push("iframe"); } catch { /* shut */ }
    });
    const socket = new WebSocket(target.replace("http", "ws") + "/");
    const connected = new Promise((done) => {
        socket.onopen = () => { read.push("socket"); done(); };
        socket.onerror = () => done();
        setTimeout(done, 2000);
    });
    const forms = [
        ["/v1/collections/colours/images", "multipart/form-data", { files: "no file" }],
        ["/v1/collections", "text/plain", { '{"name": "made", "x': '": 1}' }],
        ["/v1/jobs/JOB/cancel", "application/x-www-form-urlencoded", {}],
        ["/session", "application/x-www-form-urlencoded", { key: "sesame" }],
    ].map(([action, encoding, fields], number) => {
        const into = document.createElement("iframe");
        into.name = `frame${number}`;
        const form = Object.assign(document.createElement("form"),
            { method: "post", action: target + action, enctype: encoding, target: into.name });
        for (const [name, value] of Object.entries(fields))
            form.append(Object.assign(document.createElement("input"), { name, value }));
        document.body.append(into, form);
        const answered = new Promise((done) => { into.onload = done; setTimeout(done, 2000); });
        form.submit();
        return answered;
    });
    await Promise.all([...elements, framed, connected, ...forms]);
    return read;
}
