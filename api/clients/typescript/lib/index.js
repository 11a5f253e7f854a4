// SPDX-License-Identifier: MIT
/**
 * A client of the plug-in studio: builds, artifacts, projects, repositories and activation keys.
 *
 *     const sdk = new BeatConnectSDK({ token: '...' });
 *     const build = await sdk.builds.create({ projectId: '...', platforms: ['linux'], formats: ['vst3'] });
 *     const status = await sdk.builds.get(build.id);
 *
 * Names are in camel case here and in snake case on the wire. What the service refuses is a `BeatConnectError`.
 */
/** Where the service is that this client was downloaded from. */
export const DEFAULT_URL = 'http://127.0.0.1:8000';
/** What the service has refused: its HTTP status, its code for machines, its sentence, and the particulars. */
export class BeatConnectError extends Error {
    status;
    code;
    details;
    constructor(status, code, message, details = {}) {
        super(message || code);
        this.status = status;
        this.code = code;
        this.details = details;
        this.name = 'BeatConnectError';
    }
}
/** Objects whose names are somebody's own and stay as they are. */
const OWN_NAMES = new Set(['flags', 'details', 'rules']);
function renamed(value, rename) {
    if (Array.isArray(value))
        return value.map((each) => renamed(each, rename));
    if (typeof value !== 'object' || value === null)
        return value;
    return Object.fromEntries(Object.entries(value)
        .filter(([, each]) => each !== undefined)
        .map(([name, each]) => [rename(name), OWN_NAMES.has(name) ? each : renamed(each, rename)]));
}
const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const camel = (name) => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
const part = encodeURIComponent;
export class Builds {
    ask;
    constructor(ask) {
        this.ask = ask;
    }
    /** Start a build. What is left out is as the project says. */
    create(build) {
        return this.ask('POST', '/builds', build);
    }
    /** How a build is now. */
    get(id) {
        return this.ask('GET', `/builds/${part(id)}`);
    }
    /** Builds, newest first. */
    list(filter = {}) {
        const { projectId, status, limit, offset } = filter;
        return this.ask('GET', '/builds', undefined, { project_id: projectId, status, limit, offset });
    }
    /** What came of a build. */
    async artifacts(id) {
        return (await this.ask('GET', `/builds/${part(id)}/artifacts`)).artifacts;
    }
    /** A link to an artifact, good for an hour. */
    download(id, artifactId) {
        return this.ask('GET', `/builds/${part(id)}/download/${part(artifactId)}`);
    }
    /** Cancel a build that is not over. */
    cancel(id) {
        return this.ask('POST', `/builds/${part(id)}/cancel`);
    }
    /** How many builds of this month are used. */
    usage() {
        return this.ask('GET', '/builds/usage');
    }
}
export class Projects {
    ask;
    constructor(ask) {
        this.ask = ask;
    }
    create(project) {
        return this.ask('POST', '/projects', project);
    }
    get(id) {
        return this.ask('GET', `/projects/${part(id)}`);
    }
    async list(page = {}) {
        return (await this.ask('GET', '/projects', undefined, page)).projects;
    }
    change(id, changes) {
        return this.ask('PATCH', `/projects/${part(id)}`, changes);
    }
}
export class Repositories {
    ask;
    constructor(ask) {
        this.ask = ask;
    }
    /** Repositories of the connected account that have the topic beatconnect-plugin, or every one. */
    async discover({ all = false } = {}) {
        const query = all ? { all: 'true' } : {};
        return (await this.ask('GET', '/plugin-repos/discover', undefined, query)).repos;
    }
    link(link) {
        return this.ask('POST', '/plugin-repos/link', link);
    }
    unlink(projectId) {
        return this.ask('POST', '/plugin-repos/unlink', { projectId });
    }
    createAndLink(project) {
        return this.ask('POST', '/plugin-repos/create-and-link', project);
    }
}
export class Github {
    ask;
    constructor(ask) {
        this.ask = ask;
    }
    status() {
        return this.ask('GET', '/github-app-callback/status');
    }
    disconnect() {
        return this.ask('DELETE', '/github-app-callback/disconnect');
    }
}
export class Activation {
    ask;
    constructor(ask) {
        this.ask = ask;
    }
    activate(on) {
        return this.ask('POST', '/plugin-activation/activate', on);
    }
    deactivate(on) {
        return this.ask('POST', '/plugin-activation/deactivate', on);
    }
    validate(on) {
        return this.ask('POST', '/plugin-activation/validate', on);
    }
    status(code) {
        return this.ask('GET', `/plugin-activation/status/${part(code)}`);
    }
    generate(key) {
        return this.ask('POST', '/plugin-activation/generate', key);
    }
    async keys(projectId) {
        const path = `/plugin-activation/project/${part(projectId)}/keys`;
        return (await this.ask('GET', path)).keys;
    }
}
export class Sdk {
    ask;
    constructor(ask) {
        this.ask = ask;
    }
    status() {
        return this.ask('GET', '/sdk/status');
    }
    download() {
        return this.ask('GET', '/sdk/download');
    }
}
/** The studio, asked with a token: a session's or an API key. */
export class BeatConnectSDK {
    builds;
    projects;
    repositories;
    github;
    activation;
    sdk;
    constructor(options = {}) {
        const base = `${(options.baseUrl ?? DEFAULT_URL).replace(/\/+$/, '')}/functions/v1`;
        const send = options.fetch ?? globalThis.fetch.bind(globalThis);
        const ask = async (method, path, body, query = {}) => {
            const url = new URL(base + path);
            for (const [name, value] of Object.entries(query)) {
                if (value !== undefined)
                    url.searchParams.set(name, String(value));
            }
            const headers = { Accept: 'application/json' };
            if (options.token)
                headers['Authorization'] = `Bearer ${options.token}`;
            const request = { method, headers };
            if (body !== undefined) {
                headers['Content-Type'] = 'application/json';
                request.body = JSON.stringify(renamed(body, snake));
            }
            const answer = await send(url, request);
            const text = await answer.text();
            if (answer.ok)
                return (text ? renamed(JSON.parse(text), camel) : undefined);
            let told = {};
            try {
                told = JSON.parse(text) ?? {};
            }
            catch {
                // Something between us and the service has answered in its own words.
            }
            throw new BeatConnectError(answer.status, told.error ?? '', told.message ?? answer.statusText, told.details);
        };
        this.builds = new Builds(ask);
        this.projects = new Projects(ask);
        this.repositories = new Repositories(ask);
        this.github = new Github(ask);
        this.activation = new Activation(ask);
        this.sdk = new Sdk(ask);
    }
}
//# sourceMappingURL=index.js.map