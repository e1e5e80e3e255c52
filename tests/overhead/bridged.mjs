// The least that an HTTP plugin can do; what it costs beside a native worker is the cost of the bridge.

import http from 'node:http';

const agent = new http.Agent({ keepAlive: true });

const send = (method, url, body) => new Promise((done, failed) => {
  const headers = { 'content-type': 'application/json' };
  const request = http.request(url, { method, agent, headers }, (answer) => {
    answer.resume();
    answer.on('end', done);
  });
  request.on('error', failed);
  request.end(JSON.stringify(body));
});

const manifest = {
  id: 'odd', name: 'Odd', version: '1.0.0', priority: 50, queue: 'fast', timeout: 20000,
  dataSchema: { 'odd/done': {} },
};

http.createServer((request, response) => {
  const say = (body) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(body));
  };
  let text = '';
  request.on('data', (part) => { text += part; });
  request.on('end', async () => {
    if (request.url === '/health') return say({ status: 'healthy', ready: true });
    if (request.url === '/manifest') return say(manifest);
    if (request.url === '/configure') return say({ success: true });
    const { taskId, cid, callbackUrl, metaCoreUrl } = JSON.parse(text);
    say({ status: 'accepted', taskId });
    await send('PATCH', `${metaCoreUrl}/meta/${cid}`, { 'odd/done': '1.0.0' });
    await send('POST', callbackUrl, { taskId, pluginId: 'odd', cid, status: 'completed', duration: 1 });
  });
}).listen(process.env.PORT);
