// plugin-example/src/index.ts

import Fastify from 'fastify';

const app = Fastify();

let config: Record<string, unknown> = {};

const manifest = {
  id: 'example-ts',
  name: 'Example TypeScript Plugin',
  version: '1.0.0',
  description: 'A TypeScript plugin template',
  priority: 50,
  queue: 'fast' as const,
  timeout: 10000,
  dependencies: ['file-info'],
  filter: { mimeTypes: ['video/*'] },
  configSchema: {},
  dataSchema: {
    'example/processed': {
      label: 'Processed',
      type: 'string',
      readonly: true
    }
  },
  ui: { color: '#2196F3' }
};

app.get('/health', async () => ({
  status: 'healthy',
  ready: true,
  version: manifest.version
}));

app.get('/manifest', async () => manifest);

app.post('/configure', async (req) => {
  config = req.body as Record<string, unknown>;
  return { success: true };
});

interface ProcessRequest {
  taskId: string;
  cid: string;
  filePath: string;
  callbackUrl: string;
  metaCoreUrl: string;
  existingMeta: Record<string, string>;
}

app.post<{ Body: ProcessRequest }>('/process', async (req) => {
  const { taskId, cid, filePath, callbackUrl, metaCoreUrl } = req.body;

  // Process asynchronously
  setImmediate(() => processFile(taskId, cid, filePath, callbackUrl, metaCoreUrl));

  return { status: 'accepted', taskId };
});

async function processFile(
  taskId: string,
  cid: string,
  filePath: string,
  callbackUrl: string,
  metaCoreUrl: string
) {
  const start = Date.now();

  try {
    // Do processing here...

    // Write to meta-core
    await fetch(`${metaCoreUrl}/meta/${cid}`, {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        'example/processed': 'true',
        'example/timestamp': String(Date.now())
      })
    });

    // Send success callback
    await fetch(callbackUrl, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        taskId,
        pluginId: manifest.id,
        cid,
        status: 'completed',
        duration: Date.now() - start
      })
    });

  } catch (error) {
    // Send failure callback
    await fetch(callbackUrl, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        taskId,
        pluginId: manifest.id,
        cid,
        status: 'failed',
        error: String(error),
        duration: Date.now() - start
      })
    });
  }
}

app.listen({ port: 8080, host: '0.0.0.0' });
